"""The demo as a newcomer runs it: real processes, a real terminal, and nothing left when it ends."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capital_governor.cli.demo.scenes import SCENES
from capital_governor.core.reason import Reason
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from tests.rigs.patience import PATIENCE_SECONDS, wait_until

SETTINGS_OF_THE_REAL_ONE = {
    "NEOLIGHT_ROOT": "/nonexistent",
    "NEOLIGHT_DASHBOARD_URL": "http://127.0.0.1:1",
    "CAPITAL_GOVERNOR_MAX_ALLOC": "nonsense",
    "TELEGRAM_BOT_TOKEN": "123456789:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "http_proxy": "http://127.0.0.1:1",
}


STOPPED = """
import capital_governor.__main__ as main, capital_governor.cli.demo.show as show
def stopped(root, supervising=show.supervising):
    (root / "runtime/capital_governor.STOP").touch()
    return supervising(root)
show.supervising, show.PATIENCE_CYCLES = stopped, 3
main.main()
"""
"""The program with a STOP file in each demo's root before anything is started."""


def command(folder: Path, seconds: int) -> list[str]:
    program = [sys.executable, "-P", "-W", "error", "-m", "capital_governor"]
    return [*program, "demo", "--folder", str(folder), "--seconds", str(seconds), "--seed", "3"]


def processes(folder: Path) -> dict[int, str]:
    """The environments of all processes whose root is this folder, zombies excepted, by pid."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if entry.name.isdigit():
                environment = (entry / "environ").read_bytes().replace(b"\0", b"\n").decode(errors="replace")
                if f"NEOLIGHT_ROOT={folder}\n" in environment:
                    found[int(entry.name)] = environment
    return found


@contextmanager
def clean(folder: Path) -> Iterator[Path]:
    """A folder of which no process is left behind even by a test that fails."""
    try:
        yield folder
    finally:
        for pid in processes(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def started(folder: Path, seconds: int, words: list[str] | None = None) -> Iterator[subprocess.Popen[str]]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder.parent)} | SETTINGS_OF_THE_REAL_ONE
    with (
        clean(folder),
        subprocess.Popen(
            words or command(folder, seconds),
            cwd=folder.parent,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def governing(folder: Path) -> bool:
    return (folder / "runtime/capital_governor_allocations.json").exists()


def test_every_scene_is_seen_in_the_journal_and_nothing_is_left(tmp_path: Path) -> None:
    """All scenes come, each with a journalled cycle of its reason; what it left can be looked at; no process is left.

    No setting of the real thing reaches it: one of them is nonsense that no program of ours would accept.
    """
    folder = tmp_path / "de mo"
    with started(folder, 14) as process:
        wait_until(lambda: governing(folder))
        environments = processes(folder).values()
        assert len(environments) >= 4  # supervisor, two keepers, two agents, perhaps their writers
        for name in SETTINGS_OF_THE_REAL_ONE.keys() - {"NEOLIGHT_ROOT"}:
            assert not [each for each in environments if name in each]
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (0, "")
    assert processes(folder) == {}
    assert re.findall(r"Seen after [0-9.]+ s: ([\w ]+)\n", out) == [scene.name for scene in SCENES]
    assert [reason.value for reason in Reason if "_" in reason.value and reason.value in out] == []
    journal = open_sqlite(folder / "state/capital_governor.sqlite3", read_only=True)
    try:
        entries = list(journal.entries("live"))
    finally:
        journal.close()
    told = {}
    for scene in SCENES:  # each after the one before
        earlier = next((place for place, entry in enumerate(entries) if scene.proven_by(entry)), None)
        assert earlier is not None, scene.name
        told[scene.name] = entries[earlier]
        entries = entries[earlier:]
    assert told["first allocation"].reason is Reason.FIRST_ALLOCATION
    assert told["Guardian pause"].reason is Reason.PAUSED
    assert told["newcomer"].reason is Reason.MEMBER_JOINED
    cut = told["regime cut"].after.published
    assert cut is not None
    assert cut.reserve == 500_000
    assert told["faulty agent"].decision.trace.faulty.keys() == {"GridKeeper"}
    looks = re.findall(r"^  \S+/capital-governor ((?:history|explain GridKeeper) --root '.*?')$", out, re.MULTILINE)
    assert len(looks) == 2
    for look in looks:
        words = [*command(folder, 14)[:6], *shlex.split(look)]
        shown = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "GridKeeper" in shown.stdout
    own = re.findall(r"^  \S*/neo_light_fix\.sh (.*?)  +\S", out.rpartition("Your own fleet")[2], re.MULTILINE)
    assert own == ["check", "once --dry-run", "start"]


def test_a_scene_that_does_not_come_fails_by_its_name(tmp_path: Path) -> None:
    """With a STOP file there is no first allocation: exit 1, the scene is named, and nothing is left."""
    folder = tmp_path / ".demo"
    with started(folder, 10, [sys.executable, "-c", STOPPED, *command(folder, 10)[6:]]) as process:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "held: the STOP file is there" in out
    assert "Seen" not in out
    assert err.startswith("demo: the scene 'first allocation' failed: the first allocation did not come in time;")
    assert processes(folder) == {}


def test_on_a_terminal_it_shows_a_frame_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    """The frame has the fleet, its bars, the reserve and the scenes; Ctrl-C ends all with exit code 130."""
    folder, shown = tmp_path / ".demo", b""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "30", "LANG": "C.UTF-8"}
        os.execv(sys.executable, command(folder, 600))  # noqa: S606 - the program under test
    with clean(folder), os.fdopen(terminal, "r+b", buffering=0) as screen:
        try:
            end = time.monotonic() + PATIENCE_SECONDS
            while b"Seen after" not in shown:
                assert time.monotonic() < end, shown[-2000:]
                shown += screen.read(65_536)
            screen.write(b"\x03")
            with contextlib.suppress(OSError):  # EIO: the other side has closed
                while chunk := screen.read(65_536):
                    shown += chunk
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    text = shown.decode(errors="replace")
    whole = f"Scene 1 of {len(SCENES)}: {SCENES[0].happens}"
    parts = ("Capital Governor demo", "GridKeeper", "█", "asks for", "reserve", "newcomer", "next", whole)
    for part in parts:
        assert part in text
    assert "Ended early. Nothing is left running." in text
    assert processes(folder) == {}


def test_nothing_outlives_a_killed_demo(tmp_path: Path) -> None:
    """After `kill -9` of the demo, supervisor, governor and hive end by themselves, and the next demo can begin."""
    folder = tmp_path / ".demo"
    with started(folder, 600) as process:
        wait_until(lambda: governing(folder))
        second = subprocess.run(
            command(folder, 10), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert second.returncode == 75
        assert "another demo runs in" in second.stderr
        process.kill()
        process.wait(PATIENCE_SECONDS)
        wait_until(lambda: not processes(folder))


@pytest.mark.parametrize("kind", ["somebody's", "a link", "a file"])
def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path, kind: str) -> None:
    """What is there stays as it is: exit 78 and one sentence."""
    folder, real = tmp_path / ".demo", tmp_path / "real"
    (real / "state").mkdir(parents=True)
    (real / "state" / "mine.json").write_text("mine")
    if kind == "a link":
        folder.symlink_to(real)
    elif kind == "a file":
        folder.write_text("mine")
    else:
        real.rename(folder)
    ran = subprocess.run(command(folder, 10), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert (ran.returncode, ran.stdout) == (78, "")
    assert len(ran.stderr.splitlines()) == 1
    assert "move it away, or choose another --folder" in ran.stderr
    (kept,) = [path for path in (real, folder) if (path / "state" / "mine.json").exists()][:1]
    assert sorted(path.name for path in kept.iterdir()) == ["state"]
