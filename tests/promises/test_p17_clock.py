"""P17: after a suspend or a jump of the clock there is one cycle to catch up, and nothing stale passes for fresh."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from capital_governor.daemon import schedule
from tests.faults.strace import which
from tests.promises.ledger import Account, require
from tests.serving import FLEET, Dashboard, fresh, record, wait_until
from tests.test_daemon import Daemon, entries

INTERVAL_SECONDS: Final = 0.6
MAIN: Final = "\nfrom capital_governor.__main__ import main\nmain()\n"
MAKES_UP: Final = """
from capital_governor import daemon
beats = []
def schedule(start, interval, now):
    beats.append(0)
    return start + len(beats) * interval
daemon.schedule = schedule
"""
AGE_IGNORED: Final = """
from capital_governor.core import hold
hold.FUTURE_TOLERANCE_SECONDS = 1e9
from capital_governor.settings import Settings
real = Settings.rules
from dataclasses import replace
Settings.rules = lambda self: replace(real(self), max_age_seconds=1e9)
"""


def catch_up(root: Path, prelude: str = "") -> int:
    """Stop a governor for several intervals; return how many cycles it takes before its next beat."""
    root.mkdir()
    with (
        Dashboard() as dashboard,
        Daemon(root, dashboard.url, interval=INTERVAL_SECONDS, program=("-c", prelude + MAIN)) as daemon,
    ):
        daemon.says("No reallocation needed", 2)
        begin, asked = dashboard.asked[-1], len(dashboard.asked)
        daemon.process.send_signal(signal.SIGSTOP)
        goes_on = schedule(begin, INTERVAL_SECONDS, time.monotonic()) + 5.3 * INTERVAL_SECONDS
        time.sleep(goes_on - time.monotonic())
        assert len(dashboard.asked) == asked, "it was never stopped"
        daemon.process.send_signal(signal.SIGCONT)
        time.sleep(2.4 * INTERVAL_SECONDS)
        daemon.end()
        after = [(moment - goes_on) / INTERVAL_SECONDS for moment in dashboard.asked[asked:]]
    # In intervals since it went on: one at once, then on the old beat, at 0.7 and 1.7.
    require(1 <= len(after) <= 3, f"{len(after)} cycles in 2.4 intervals: {after}")
    assert len(entries(root)) == asked + len(after)
    return sum(moment < 0.65 for moment in after)


def test_p17_after_a_suspend_one_cycle_catches_up(promise: Account, tmp_path: Path) -> None:
    """A process stopped for several intervals takes one cycle when it goes on, and then keeps its old beat."""
    promise.figure(f"cycles to catch up after a suspend of 5 intervals {catch_up(tmp_path / 'root')}")
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


def jump(root: Path, offset: Path, prelude: str = "") -> tuple[int, float]:
    """Jump ahead and back by hours; return the cycles meanwhile, and how many beats that time had."""
    root.mkdir()
    offset.write_text("+0\n")
    turned = {agent: record(winrate=0.9 - 0.2 * number) for number, agent in enumerate(FLEET)}
    with (
        Dashboard() as dashboard,
        Daemon(root, dashboard.url, interval=INTERVAL_SECONDS / 2, program=("-c", prelude + MAIN)) as daemon,
    ):
        daemon.says("No reallocation needed")
        before, started = daemon.files(), time.monotonic()
        first = len(dashboard.asked)
        for hours, reason in (("+2h", "payload_stale"), ("-2h", "payload_future")):
            offset.write_text(f"{hours}\n")
            dashboard.wait_for(len(dashboard.asked) + 2)  # the second of these began under the new clock
            dashboard.next(fresh(turned))
            dashboard.wait_for(len(dashboard.asked) + 3)
            require(daemon.files() == before, f"published on a payload that was {hours} off")
            found = daemon.status()["reason"]
            require(found == reason, f"{hours}: the cycle ended with {found}")
            dashboard.next(fresh())
        asked, beats = len(dashboard.asked) - first, (time.monotonic() - started) / (INTERVAL_SECONDS / 2)
        require(asked <= beats + 2, f"{asked} cycles in {beats:.1f} beats")
        offset.write_text("+0\n")
        dashboard.wait_for(len(dashboard.asked) + 2)
        dashboard.next(fresh(turned))
        wait_until(lambda: daemon.files() != before)
        daemon.end()
    return asked, beats


def test_p17_a_jump_of_the_clock_makes_no_burst_and_nothing_stale_fresh(
    promise: Account, tmp_path: Path, faked_clock: Path
) -> None:
    """With the wall clock two hours ahead or behind it keeps its beat and holds, and moves when the clock is right."""
    asked, beats = jump(tmp_path / "root", faked_clock)
    promise.figure(f"clock +2 h and -2 h: {asked} cycles in {beats:.1f} beats, published meanwhile 0")
    with promise.mutant("age ignored"):
        jump(tmp_path / "mutant", faked_clock, AGE_IGNORED)
