"""P17: after a suspend or a jump of the clock there is one cycle to catch up, and nothing stale passes for fresh."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.strace import which
from tests.promises.ledger import Account, require
from tests.rigs.daemon import Daemon, waits
from tests.rigs.dashboard import FLEET, Dashboard, fresh, record
from tests.rigs.patience import wait_until
from tests.rigs.preludes import RECORDS_BEATS

INTERVAL_SECONDS: Final = 0.4
INTERVALS: Final = 5
AFTERWARDS: Final = 4
"""So many waits are looked at after a suspend: more than one would be for a missed beat if those were made up."""
ROUNDING: Final = 1e-6
SUSPENDS: Final = """
import os, pathlib, signal, sys
from capital_governor.service import daemon
before, flag = daemon.schedule, pathlib.Path(sys.argv[3] + ".suspend")
def schedule(*words):
    wake = before(*words)
    if flag.exists():
        flag.unlink()
        os.kill(os.getpid(), signal.SIGSTOP)
    return wake
daemon.schedule = schedule
"""
"""What goes before the program so that it stops itself when it begins to wait for a beat and is asked to."""
MAKES_UP: Final = """
from capital_governor.service import daemon
beats = []
def schedule(start, interval, now):
    beats.append(0)
    return start + len(beats) * interval
daemon.schedule = schedule
"""
AGE_IGNORED: Final = """
from capital_governor.core import hold
hold.FUTURE_TOLERANCE_SECONDS = 1e9
from capital_governor.settings.load import Settings
real = Settings.rules
from dataclasses import replace
Settings.rules = lambda self: replace(real(self), max_age_seconds=1e9)
"""


def catch_up(root: Path, prelude: str = "") -> int:
    """Stop a governor for several intervals; return how many cycles it takes for beats that it has missed."""
    root.mkdir()
    with (
        Dashboard() as dashboard,
        Daemon(root, dashboard.url, interval=INTERVAL_SECONDS, prelude=prelude + RECORDS_BEATS + SUSPENDS) as daemon,
    ):
        stop_between_cycles(daemon)
        missed = len(waits(root))
        time.sleep(INTERVALS * INTERVAL_SECONDS)
        assert len(waits(root)) == missed, "it was never stopped"
        goes_on = time.monotonic()
        daemon.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(waits(root)) >= missed + AFTERWARDS)
        daemon.end()
    # The last of the missed beats is the one that it was waiting for when it was stopped.
    waited = waits(root)[missed - 1 :]
    caught_up = sum(each.wake < goes_on for each in waited)
    require(caught_up <= 1, f"{caught_up} cycles for {INTERVALS} missed beats")
    for each in waited[1:]:
        beat = (each.wake - each.start) / INTERVAL_SECONDS
        require(each.wake > each.now, f"a beat is waited for that was {each.now - each.wake:.1f} s ago")
        require(abs(beat - round(beat)) < ROUNDING, f"beat {beat} is not on the old metronome")
    return caught_up


def stop_between_cycles(daemon: Daemon) -> None:
    """See the process stop when it begins to wait for a beat, the first of which it has taken."""
    wait_until(lambda: len(waits(daemon.root)) >= 2)
    daemon.root.with_name(f"{daemon.root.name}.suspend").touch()
    wait_until(lambda: state(daemon.process.pid) == "T")


def state(pid: int) -> str:
    """What the kernel says of a process: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_p17_after_a_suspend_one_cycle_catches_up(promise: Account, tmp_path: Path) -> None:
    """A process stopped for several intervals takes one cycle when it goes on, and then keeps its old beat."""
    promise.figure(f"cycles to catch up after a suspend of {INTERVALS} intervals {catch_up(tmp_path / 'root')}")
    with promise.mutant("missed beats made up"):
        catch_up(tmp_path / "mutant", MAKES_UP)


@pytest.fixture
def faked_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that says how far the wall clock of new processes is off; the monotonic one goes on as it did."""
    which("faketime")
    library = next(Path("/usr/lib").rglob("faketime/libfaketime.so.1"))
    before = shared_memory()
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    with monkeypatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(library))
        patch.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
        patch.setenv("FAKETIME_NO_CACHE", "1")
        patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        patch.setenv("DONT_FAKE_MONOTONIC", "1")
        yield offset
    for left in shared_memory() - before:  # by a process that was killed
        left.unlink(missing_ok=True)


def shared_memory() -> set[Path]:
    """What the library keeps in shared memory."""
    return set(Path("/dev/shm").glob("*faketime_*"))  # noqa: S108 - where the library puts it


def jump(root: Path, offset: Path, prelude: str = "") -> tuple[int, int]:
    """Jump ahead and back by hours; return the cycles meanwhile, and how many beats they were for."""
    root.mkdir()
    offset.write_text("+0\n")
    turned = {agent: record(winrate=0.9 - 0.2 * number) for number, agent in enumerate(FLEET)}
    with (
        Dashboard() as dashboard,
        Daemon(root, dashboard.url, interval=INTERVAL_SECONDS, prelude=prelude + RECORDS_BEATS) as daemon,
    ):
        daemon.says("No reallocation needed")
        before, first = daemon.files(), len(waits(root))
        for hours, reason in (("+2h", "payload_stale"), ("-2h", "payload_future")):
            offset.write_text(f"{hours}\n")
            dashboard.wait_for(len(dashboard.asked) + 2)  # the second of these began under the new clock
            dashboard.next(fresh(turned))
            dashboard.wait_for(len(dashboard.asked) + 3)
            require(daemon.files() == before, f"published on a payload that was {hours} off")
            found = daemon.status()["reason"]
            require(found == reason, f"{hours}: the cycle ended with {found}")
            dashboard.next(fresh())
        wakes = [each.wake for each in waits(root)[first:]]
        cycles, beats = len(wakes), round((wakes[-1] - wakes[0]) / INTERVAL_SECONDS) + 1
        require(cycles <= beats, f"{cycles} cycles for {beats} beats")
        offset.write_text("+0\n")
        dashboard.wait_for(len(dashboard.asked) + 2)
        dashboard.next(fresh(turned))
        wait_until(lambda: daemon.files() != before)
        daemon.end()
    return cycles, beats


def test_p17_a_jump_of_the_clock_makes_no_burst_and_nothing_stale_fresh(
    promise: Account, tmp_path: Path, faked_clock: Path
) -> None:
    """With the wall clock two hours ahead or behind it keeps its beat and holds, and moves when the clock is right."""
    cycles, beats = jump(tmp_path / "root", faked_clock)
    promise.figure(f"clock +2 h and -2 h: {cycles} cycles for {beats} beats, published meanwhile 0")
    with promise.mutant("age ignored"):
        jump(tmp_path / "mutant", faked_clock, AGE_IGNORED)
