"""Commands in a folder where no governor has ever run: refused, with the roots that can be seen and what to type."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from capital_governor.cli.known_root import demand_governor
from capital_governor.cli.typed import SCRIPT
from capital_governor.contracts.exit_codes import CONFIGURATION, TEMPORARY
from capital_governor.settings.sources import find_place
from tests.rigs.commands import CommandResult, call, command, environment, run_to_end, tree
from tests.rigs.ordered_root import Place

ORDERS = [
    *("hold --for 2h", "resume", "accept", "exposure --max 0", "exposure --lift"),
    *("limit Ada --max 0.1", "unlimit Ada", "release Ada", "reload"),
]
LOOKS = ("status", "explain Ada", "history", "history Ada", "decisions", "limits", "exposure", "limit Ada")


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


def at(folder: Path, *words: str, **own: str) -> CommandResult:
    """Run a command in a folder, without ``--root``."""
    return run_to_end(command(*words), environment("http://127.0.0.1:1", own), cwd=folder)


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--json",)], ids=" ".join)
@pytest.mark.parametrize("words", [*ORDERS, *LOOKS])
def test_a_folder_without_a_governor(wrong: Path, words: str, more: tuple[str, ...]) -> None:
    """Exit code 78, no output, nothing created, and each line says what to do."""
    before = tree(wrong)
    said = call(wrong, *words.split(), *more)
    assert (said.code, said.out) == (CONFIGURATION, "")
    assert tree(wrong) == before
    first, *_, last = said.err.splitlines()
    assert first == (
        f"capital-governor: no governor has ever run in {wrong} (--root): there is neither its journal nor its status"
        " file; nothing was changed"
    )
    assert last == f"capital-governor: to start a governor in {wrong} type `capital-governor run --root {wrong}`"


def test_a_supervisor_that_has_just_started_will_have_a_governor(wrong: Path) -> None:
    """Its governor takes a moment to leave a trace: that is a matter of time, exit code 75, and no wrong folder."""
    (wrong / "runtime").mkdir()
    with (wrong / "runtime/neo_light_fix.lock").open("w") as lock:
        assert call(wrong, "status").code == CONFIGURATION
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = call(wrong, "status")
    assert (said.code, said.out) == (TEMPORARY, "")


def test_roots_that_can_be_seen_are_named(place: Place, wrong: Path, tmp_path: Path) -> None:
    """That of the environment, and the current folder, each with the whole command that this user must type."""
    other = Place(tmp_path / "my fleet", place.dashboard)
    above = Place(tmp_path, place.dashboard)
    for each in (other, above):
        each.root.mkdir(exist_ok=True)
        each.begin()
    named = {"NEOLIGHT_ROOT": str(other.root)}
    words = ["hold", "--root", "downloads", "--reason", "it's late"]
    said = run_to_end(command(*words), environment("http://127.0.0.1:1", named), cwd=tmp_path)
    assert (said.code, said.out) == (CONFIGURATION, "")
    lines = said.err.splitlines()
    hint = f"`{sys.executable} -m capital_governor hold --reason 'it'\"'\"'s late' --root "
    start = "capital-governor: a governor is or was in"
    assert lines[1] == f"{start} {other.root} (NEOLIGHT_ROOT); for that one type {hint}'{other.root}'`"
    assert lines[2] == f"{start} {tmp_path} (the current folder); for that one type {hint}{tmp_path}`"
    assert list(wrong.iterdir()) == []


def test_a_root_whose_governor_runs_is_named_as_such(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the folder that the script takes if nobody names another is named as that of the script."""
    place.begin()
    monkeypatch.setenv("NEOLIGHT_ROOT", str(SCRIPT.parent))
    seen = patch("capital_governor.cli.known_root.running_roots", return_value=[place.root])
    with seen, pytest.raises(SystemExit):
        demand_governor(None, find_place(None))
    said = capsys.readouterr().err
    assert f"no governor has ever run in {SCRIPT.parent} (the folder of neo_light_fix.sh): " in said
    assert f"a governor runs in {place.root}; for that one type `" in said


def test_the_hint_is_the_command_that_works(place: Place) -> None:
    """Typed as printed, from the same folder, it gives the order."""
    place.begin()
    runtime = place.root / "runtime"
    said = at(runtime, "hold", "--for", "2h", "--reason", "it's late")
    assert said.code == CONFIGURATION
    (hint,) = [line for line in said.err.splitlines() if "(the folder above)" in line]
    typed = hint.partition("for that one type `")[2].removesuffix("`")
    given = subprocess.run(
        ["/bin/sh", "-c", typed],
        cwd=runtime,
        env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert given.stdout.startswith(f"root: {place.root}\nhold by ")
    assert "it's late" in given.stdout


@pytest.mark.usefixtures("loaded")
def test_an_order_for_a_dry_run_that_never_ran(place: Place) -> None:
    """Beside a live governor it is refused too, since no cycle would ever obey it."""
    place.begin()
    before = tree(place.root)
    said = place.call("hold", "--dry-run")
    assert (said.code, said.out) == (CONFIGURATION, "")
    assert said.err == (
        f"capital-governor: no dry run has ever run in {place.root}; nothing was changed; to start one type"
        f" `capital-governor run --root {place.root} --dry-run`\n"
    )
    assert tree(place.root) == before


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("left", ["journal", "status", "both"])
def test_a_root_that_had_a_governor(place: Place, left: str) -> None:
    """Journal or status file are enough: orders are taken, and wait for the next one."""
    assert place.call("once").code == 0
    if left == "journal":
        (place.root / "runtime" / "capital_governor_status.json").unlink()
    if left == "status":
        for path in place.journal.parent.glob("capital_governor.sqlite3*"):
            path.unlink()
    given = place.call("hold")
    assert (given.code, given.answer[0].split()[0]) == (0, "hold")
    assert given.out.splitlines()[0] == f"root: {place.root}"
    assert "hold by" in place.call("limits").out
