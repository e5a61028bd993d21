"""P21: a rival writer is seen within one cycle, told of once, and overruled once a cycle at most."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Final, Self

from tests.promises.ledger import Account, require
from tests.rigs.daemon import Daemon, entries
from tests.rigs.dashboard import Dashboard, fresh
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.raw_server import Connection

EVERY_SECONDS: Final = 0.05
CYCLES: Final = 10
WATCH_SECONDS: Final = 0.5
"""How long the product is seen to leave a rival alone between cycles; a mutant is watched until it does not."""
THEIRS: Final = json.dumps({"allocations": {"SmartTrader": 1.0}, "source": "rogue_bridge"})
TELLS_EACH_TIME: Final = """
from capital_governor.service.event_log import EventLog
from capital_governor.wording.log_events import LogEvent
EventLog._tell_rival = lambda self, c, now: c.rival and self._say(
    LogEvent.OVERRIDE_RIVAL.line(writer=c.found, then="rewritten")
)
"""
FIGHTS_BACK: Final = """
import threading, time
from capital_governor.adapters import file_convergence
real, said = file_convergence.converge, []
def guard():
    while True:
        time.sleep(0.02)
        if said:
            real(*said[-1][0], **said[-1][1])
def converge(*words, **more):
    said.append((words, more))
    return real(*words, **more)
file_convergence.converge = converge
threading.Thread(target=guard, daemon=True).start()
"""


class Rogue:
    """Writes the override file every 50 ms while the block lasts, and counts how often it was ours again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writes = self.overruled = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE_SECONDS)

    def _write(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self.overruled += self.path.read_text() != THEIRS
            write_theirs(self.path)
            self.writes += 1


def outlive_a_rogue(root: Path, prelude: str = "", *, watch_seconds: float = WATCH_SECONDS) -> tuple[int, int, int]:
    """Govern beside a rogue; return the rogue's writes, the governor's rewrites, and its cycles."""
    root.mkdir()
    with Dashboard() as dashboard, Daemon(root, dashboard.url, interval=0.3, prelude=prelude) as daemon:
        daemon.says("No reallocation needed")
        override = root / "runtime/allocations_override.json"
        meet_a_first_write(dashboard, daemon, override, watch_seconds)
        wait_until(lambda: override.read_text() != THEIRS)
        before = len(entries(root))
        with Rogue(override) as rogue:
            wait_until(lambda: rogue.overruled > CYCLES // 2 and len(entries(root)) >= before + CYCLES)
        cycles = len(entries(root)) - before
        wait_until(lambda: override.read_text() != THEIRS)
        daemon.end()
    told = daemon.log.read_text().count("Another writer")
    require(told == 1, f"it was told {told} times")
    # The one before the rogue's first look is our own publication.
    rewrites = rogue.overruled - 1
    require(rewrites <= cycles + 1, f"{rewrites} rewrites in {cycles} cycles")
    return rogue.writes, rewrites, cycles


def meet_a_first_write(dashboard: Dashboard, daemon: Daemon, override: Path, watch_seconds: float) -> None:
    """Write as a rogue while a cycle waits for its payload: this cycle has to see it, and nothing before the cycle.

    Whoever fights between cycles does so within the time that is watched; all else is a matter of order.
    """
    asked, go_on = threading.Event(), threading.Event()

    def waits(connection: Connection) -> None:
        asked.set()
        while not (go_on.is_set() or connection.over(0.02)):
            pass
        fresh()(connection)

    dashboard.next(waits, fresh())
    assert asked.wait(PATIENCE_SECONDS)
    questions = len(dashboard.asked)
    write_theirs(override)
    end = time.monotonic() + watch_seconds
    while time.monotonic() < end:
        require(override.read_text() == THEIRS, "the rogue was overruled between cycles")
        time.sleep(0.01)
    require("Another writer" not in daemon.log.read_text(), "the rogue was told of between cycles")
    go_on.set()
    dashboard.wait_for(questions + 1)
    require(override.read_text() != THEIRS, "the first cycle after the rogue's write did not see it")
    daemon.says("Another writer")


def write_theirs(path: Path) -> None:
    temporary = path.with_name("rogue")
    temporary.write_text(THEIRS)
    temporary.replace(path)


def test_p21_a_rogue_is_overruled_once_a_cycle(promise: Account, tmp_path: Path) -> None:
    """A rogue that writes every 50 ms is told of once, and rewritten in a cycle and nowhere else."""
    writes, rewrites, cycles = outlive_a_rogue(tmp_path / "root")
    assert writes > rewrites >= CYCLES // 2
    promise.figure(f"{writes} rogue writes, {rewrites} rewrites in {cycles} cycles, told once")
    for name, prelude in (("told each time", TELLS_EACH_TIME), ("fought between cycles", FIGHTS_BACK)):
        watch = PATIENCE_SECONDS if prelude == FIGHTS_BACK else WATCH_SECONDS
        with promise.mutant(name):
            outlive_a_rogue(tmp_path / name, prelude, watch_seconds=watch)
