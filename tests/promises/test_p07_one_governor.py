"""P7: a root has exactly one governor, however many start at once, and a dead one is in nobody's way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.promises.ledger import REPOSITORY, Account, require
from tests.rigs.dashboard import Dashboard
from tests.rigs.patience import wait_until

RACERS: Final = 20
KILLS: Final = 8
NO_LOCK: Final = "from capital_governor.adapters.lock import RootLock; RootLock.acquire = lambda self: None"
PID_FILE: Final = """
import os
from capital_governor.adapters.lock import LockHeldError, RootLock
def acquire(self):
    try:
        os.close(os.open(f"{self._path}.pid", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        raise LockHeldError("there is a PID file") from None
RootLock.acquire = acquire
"""


class Race:
    """Governors of one root, started many at a time; ``log`` is what they all say."""

    def __init__(self, folder: Path, prelude: str) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.log = folder / "log"
        self.pids: list[int] = []
        words = ["-m", "tests.faults.racer", str(self.root), *([prelude] if prelude else [])]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )

    def start(self, count: int) -> list[int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{count}\n".encode())
        self.process.stdin.flush()
        started = list(map(int, self.process.stdout.readline().split()))
        self.pids += started
        return started

    def living(self, pids: list[int]) -> list[int]:
        """Which of these neither ended nor were killed; the racer does not reap, so no pid is given twice."""
        return [pid for pid in pids if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"]

    def wait_for_living(self, pids: list[int], count: int) -> None:
        """Wait until just so many of these are alive."""
        wait_until(lambda: len(self.living(pids)) == count)

    def owners(self) -> int:
        """How often a governor got past the lock so far."""
        return self.log.read_text().count("Starting Capital Governor")


@contextmanager
def race(folder: Path, prelude: str) -> Iterator[Race]:
    """Start no governor yet; kill all in the end."""
    folder.mkdir()
    made = Race(folder, prelude)
    try:
        yield made
    finally:
        for pid in made.living(made.pids):
            os.kill(pid, signal.SIGKILL)
        made.process.kill()
        made.process.wait()
        for stream in (made.process.stdin, made.process.stdout):
            assert stream is not None
            stream.close()


def taken_or_given_up(racing: Race, owners_before: int, heirs: list[int]) -> bool:
    """Whether one has got past the lock, or all have ended."""
    return racing.owners() > owners_before or not racing.living(heirs)


def one_at_a_time(folder: Path, prelude: str = "") -> list[float]:
    """Let twenty race, then kill the owner again and again; return the seconds that each takeover took."""
    takeovers = []
    with race(folder, prelude) as racing:
        first = racing.start(RACERS)
        wait_until(lambda: racing.owners() and len(racing.living(first)) == racing.owners())
        require(racing.owners() == 1, f"{racing.owners()} of {RACERS} govern at once")
        (owner,) = racing.living(first)
        for kill in range(KILLS):
            os.kill(owner, signal.SIGKILL)
            racing.wait_for_living([owner], 0)
            killed = time.monotonic()
            heirs = racing.start(3)
            wait_until(partial(taken_or_given_up, racing, kill + 1, heirs))
            takeovers.append(time.monotonic() - killed)
            require(racing.owners() == kill + 2, "nobody took over from one killed with -9: all three gave up")
            racing.wait_for_living(heirs, 1)
            (owner,) = racing.living(heirs)
        require(racing.owners() == KILLS + 1, f"{racing.owners()} owners after {KILLS} kills")
    return takeovers


def test_p07_one_governs_and_a_dead_one_frees_the_lock(
    promise: Account, quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twenty that start at once one governs; killed -9 over and over, it has one heir out of three at once."""
    with Dashboard() as dashboard:
        monkeypatch.setenv("NEOLIGHT_DASHBOARD_URL", dashboard.url)
        takeovers = one_at_a_time(quick_folder / "race")
        promise.figure(
            f"most owners at once 1 of {RACERS}; takeover after kill -9 {max(takeovers):.2f} s at most of {KILLS}"
        )
        for name, prelude in (("no lock", NO_LOCK), ("PID file", PID_FILE)):
            with promise.mutant(name):
                one_at_a_time(quick_folder / name, prelude)
