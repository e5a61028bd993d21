"""The scenes against the story, and the manual's output against the scenes."""

from __future__ import annotations

import re
from pathlib import Path

from capital_governor.cli.demo.scenes import DAYS, SCENES
from capital_governor.cli.demo.view import BAR_COLUMNS, bar

CHAPTER = Path(__file__).resolve().parents[2] / "capital_governor" / "docs" / "deciding.md"


def test_scenes_follow_each_other_without_a_gap() -> None:
    """Each scene begins where the one before ended, from the first day of the story to its last."""
    assert [scene.begins_day for scene in SCENES] == [0.0, *(scene.ends_day for scene in SCENES[:-1])]
    assert SCENES[-1].ends_day == DAYS


def test_the_manual_shows_the_scenes_as_they_are() -> None:
    """Every scene that the manual's output has is called and described as the demo does it, in its order."""
    shown = re.findall(r"^ *[0-9.]+ s  (Scene .*)$", CHAPTER.read_text(), re.MULTILINE)
    told = [f"Scene {number} of {len(SCENES)}, {scene.name}: {scene.happens}" for number, scene in enumerate(SCENES, 1)]
    assert len(shown) >= 5
    assert shown == told[: len(shown)]


def test_bars() -> None:
    """A bar is full at half of all capital, empty at nothing, and an eighth of a column is seen."""
    assert (bar(0), bar(250_000), bar(500_000), bar(900_000)) == ("", "█" * 10, "█" * BAR_COLUMNS, "█" * BAR_COLUMNS)
    assert bar(3_125) == "▏"
    assert bar(28_125) == "█▏"
