"""The root's lock is the last thing that goes: nothing is written any more once another governor can have it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from tests.rigs.cycle_rig import footprint
from tests.rigs.dashboard import Dashboard
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.raw_server import hang

SLOW_SECONDS: Final = 40
"""How long the slow disk takes for one file: far longer than an end that does not wait for it."""


def environment(url: str) -> dict[str, str]:
    return {"PATH": os.defpath, "NEOLIGHT_DASHBOARD_URL": url, "CAPITAL_GOVERNOR_INTERVAL": "0.1"}


SLOW_DISK: Final = """
import os, pathlib, sys, time
real, begun = os.fsync, pathlib.Path(sys.argv.pop(1))
def fsync(descriptor):
    if "allocations.json" in os.readlink(f"/proc/self/fd/{descriptor}"):
        begun.touch()
        time.sleep(SECONDS)
    real(descriptor)
os.fsync = fsync
from capital_governor.__main__ import main
main()
"""


@contextmanager
def on_a_slow_disk(root: Path, url: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run the program where the primary file takes very long to reach the disk; it is on its way there already."""
    begun, program = root.with_name("begun"), SLOW_DISK.replace("SECONDS", str(SLOW_SECONDS))
    command = [sys.executable, "-c", program, str(begun), *words, "--root", str(root)]
    with subprocess.Popen(
        command, env=environment(url), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(begun.exists)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("words", "number", "code"),
    [
        (("once",), signal.SIGINT, 130),
        (("once",), signal.SIGTERM, 143),
        (("run",), signal.SIGTERM, 0),
        (("run", "--dry-run"), signal.SIGINT, 0),
    ],
)
def test_nothing_is_written_once_the_lock_is_free(
    tmp_path: Path, words: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    """A signal in the midst of a write that takes long: when the lock is free, no file changes any more."""
    root = tmp_path / "root"
    root.mkdir()
    paths = Paths(root, "--dry-run" in words)
    files = (paths.primary, paths.override, paths.status)
    with Dashboard() as dashboard, on_a_slow_disk(root, dashboard.url, *words) as process:
        process.send_signal(number)
        wait_until(lambda: is_held(paths.lock) is False)
        before = footprint(*files)
        _, said = process.communicate(timeout=PATIENCE_SECONDS + SLOW_SECONDS)
        assert footprint(*files) == before
    assert process.returncode == code, said
    assert before[0] is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_once_says_so_and_ends_in_order(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """In a fetch that hangs, a signal ends `once` without a traceback, and the root is free for the next one."""
    root = tmp_path / "root"
    root.mkdir()
    command = [sys.executable, "-m", "capital_governor", "once", "--root", str(root)]
    with (
        Dashboard(hang) as dashboard,
        subprocess.Popen(command, env=environment(dashboard.url), stderr=subprocess.PIPE, text=True) as process,
    ):
        try:
            dashboard.wait_for(1)
            process.send_signal(number)
            _, said = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
    assert process.returncode == code
    assert "Traceback" not in said
    assert is_held(Paths(root).lock) is False
