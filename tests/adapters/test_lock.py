"""The root's lock: who may have it, who only looks, and what a file system refuses."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from capital_governor.adapters import lock
from capital_governor.adapters.lock import LockHeldError, LockRefusedError, RootLock, is_held
from capital_governor.cli.failures import explained
from tests.faults.strace import which
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.script_machine import BOUND_BY_PERMISSIONS

LOOKERS: Final = 4
STARTS: Final = 300


def patient(path: Path) -> RootLock:
    """A lock that waits as long as a busy machine may need for what takes a moment."""
    made = RootLock(path)
    made._lock.timeout = PATIENCE_SECONDS
    return made


def test_a_lock_is_waited_for_longer_than_a_look_lasts() -> None:
    """A look takes microseconds; the product waits for a second at least."""
    assert lock.PATIENCE_SECONDS >= 1.0


@contextmanager
def looked_at(path: Path) -> Iterator[None]:
    """Several threads look at the lock without a pause, as monitors do."""
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            is_held(path)

    threads = [threading.Thread(target=look) for _ in range(LOOKERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_who_looks_is_in_nobodys_way(tmp_path: Path) -> None:
    """Under constant looking each start gets the lock."""
    path = tmp_path / "lock"
    path.touch()
    with looked_at(path):
        for _ in range(STARTS):
            started = patient(path)
            started.acquire()
            started.release()


def test_a_look_that_lasts_a_moment_is_waited_for(tmp_path: Path) -> None:
    """A shared lock that is given back in time does not keep a governor from starting."""
    path = tmp_path / "lock"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        timer = threading.Timer(0.1, lambda: fcntl.flock(file, fcntl.LOCK_UN))
        timer.start()
        started = patient(path)
        started.acquire()
        timer.join()
        assert is_held(path)
        started.release()
    assert is_held(path) is False


def test_a_holder_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """Who finds another governor there is told so."""
    first, second = RootLock(tmp_path / "lock"), RootLock(tmp_path / "lock")
    first.acquire()
    with pytest.raises(LockHeldError, match="another governor runs on this root"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


ACQUIRE: Final = """
import sys
from pathlib import Path
from capital_governor.adapters.lock import RootLock
from capital_governor.cli.failures import explained
with explained():
    RootLock(Path(sys.argv[1])).acquire()
"""


@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_a_file_system_without_locks(tmp_path: Path, error: str) -> None:
    """What flock refuses is one line with the lock's name and the remedy, and exit 78."""
    path = tmp_path / "lock"
    traced = [which("strace"), "-f", "-qq", "-o", os.devnull, "-e", "trace=flock", "-e", f"inject=flock:error={error}"]
    done = subprocess.run(
        [*traced, sys.executable, "-c", ACQUIRE, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    said = os.strerror(getattr(errno, error))
    assert done.stderr == (
        f"capital-governor: {path}: the lock cannot be taken ({said}): this file system has no file locks: put"
        " runtime/ on a local disk, or mount this one with locks\n"
    )
    assert done.returncode == 78


def test_a_lock_of_another_user(tmp_path: Path) -> None:
    """One that cannot be opened is named, with what to do about it, and exits 78."""
    path = tmp_path / "lock"
    path.touch(mode=0o600)
    path.chmod(0o400)
    done = subprocess.run(
        [*BOUND_BY_PERMISSIONS, sys.executable, "-c", ACQUIRE, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.stderr == (
        f"capital-governor: {path}: the lock cannot be taken (Permission denied): let the governor's user write to it,"
        " or remove it while no governor runs here\n"
    )
    assert done.returncode == 78


def test_what_lies_in_the_place_of_the_lock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder or a symbolic link there is named, with what to do about it, and exits 78."""
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(tmp_path / "elsewhere")
    for path, remedy in ((folder, "move away the folder in its place"), (link, "it is a symbolic link: remove it")):
        with pytest.raises(LockRefusedError, match=remedy):
            RootLock(path).acquire()
        with pytest.raises(SystemExit, match="78"), explained():
            RootLock(path).acquire()
        assert f"{path}: the lock cannot be taken" in capsys.readouterr().err
