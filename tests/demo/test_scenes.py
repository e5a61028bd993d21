"""The scenes against the story, and the manual's output against the scenes."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from capital_governor.cli.demo.progress import Progress
from capital_governor.cli.demo.scenes import DAYS, SCENES
from capital_governor.cli.demo.view import demo_frame
from capital_governor.cli.share_bar import BAR_COLUMNS, bar
from capital_governor.core.decision import commit, decide
from capital_governor.core.model import Inputs, Refusal, Snapshot, State
from capital_governor.journal.protocol import Entry
from tests.rigs.builders import NOW, PLAIN, snapshot

CHAPTER = Path(__file__).resolve().parents[2] / "capital_governor" / "docs" / "deciding.md"


def test_scenes_follow_each_other_without_a_gap() -> None:
    """Each scene begins where the one before ended, from the first day of the story to its last."""
    assert [scene.begins_day for scene in SCENES] == [0.0, *(scene.ends_day for scene in SCENES[:-1])]
    assert SCENES[-1].ends_day == DAYS


def test_the_manual_shows_the_scenes_as_they_are() -> None:
    """Every scene that the manual's output has is called and described as the demo does it, in its order."""
    shown = re.findall(r"^ *[0-9.]+ s  (Scene .*)$", CHAPTER.read_text(), re.MULTILINE)
    told = [f"Scene {number} of {len(SCENES)}: {scene.happens}" for number, scene in enumerate(SCENES, 1)]
    assert len(shown) >= 5
    assert shown == told[: len(shown)]


def entry(payload: Snapshot | Refusal, before: State) -> Entry:
    inputs = Inputs(NOW, payload)
    decision = decide(inputs, before, PLAIN)
    return Entry(
        seq=1,
        book="live",
        inputs=inputs,
        state=before,
        rules=PLAIN,
        decision=decision,
        after=commit(decision),
        version="",
        derived=True,
    )


def drawn(progress: Progress, columns: int) -> str:
    """The frame as a terminal of so many columns shows it."""
    console = Console(width=columns, file=io.StringIO(), record=True)
    console.print(demo_frame(progress, columns))
    return console.export_text()


@pytest.mark.parametrize("columns", [80, 110])
def test_the_frame_shows_every_sentence_and_the_pause(columns: int) -> None:
    """In 22 lines: each sentence whole, what a score asks for beside the share, and a pause in heading and table."""
    progress = Progress(7)
    for scene in SCENES:
        progress.begin(100.0)
        assert f"Scene {progress.playing + 1} of {len(SCENES)}: {scene.happens}" in drawn(progress, columns)
        assert f"next     {scene.happens}" in drawn(Progress(7, playing=progress.playing - 1), columns)
    fleet = {"Ada": 0.3, "Bob": 0.3, "Cyd": 0.2, "Dan": 0.2}
    settled = commit(decide(Inputs(NOW, snapshot(fleet, at=NOW)), State(), PLAIN))
    # A small change of scores: Ada's asks for 0.27 / 0.97 of all capital, and its share stays.
    progress.hear(entry(snapshot(fleet | {"Ada": 0.27}, at=NOW), settled), 101.0)
    text = drawn(progress, columns)
    assert re.search(r"Ada +0\.270 +27\.84% +30\.00%", text)
    progress.hear(entry(snapshot(fleet, at=NOW, paused=True), settled), 102.0)
    text = drawn(progress, columns)
    assert "   PAUSED" in text.splitlines()[1]
    assert re.search(r"Ada .* paused +\d\d\.\d\d%", text)
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= columns


def test_bars() -> None:
    """A bar is full at half of all capital, empty at nothing, and an eighth of a column is seen."""
    assert (bar(0), bar(500_000), bar(900_000)) == ("", "█" * BAR_COLUMNS, "█" * BAR_COLUMNS)
    assert bar(250_000) == "█" * (BAR_COLUMNS // 2)
    eighth = 500_000 // (8 * BAR_COLUMNS)
    assert bar(eighth) == "▏"
    assert bar(9 * eighth) == "█▏"
