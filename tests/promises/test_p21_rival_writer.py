"""P21: a rival writer is seen within one cycle, told of once, and overruled once a cycle at most."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Final, Self

from tests.promises.ledger import Account, require
from tests.serving import Dashboard, wait_until
from tests.test_daemon import Daemon, entries

EVERY_SECONDS: Final = 0.05
CYCLES: Final = 10
THEIRS: Final = json.dumps({"allocations": {"SmartTrader": 1.0}, "source": "rogue_bridge"})
MAIN: Final = "\nfrom capital_governor.__main__ import main\nmain()\n"
TELLS_EACH_TIME: Final = """
from capital_governor.report import Report
from capital_governor.messages import Line
Report._tell_rival = lambda self, c, now: c.rival and self._say(Line("warning", "Another writer"))
"""
FIGHTS_BACK: Final = """
import threading, time
from capital_governor.adapters import files
real, said = files.converge, []
def guard():
    while True:
        time.sleep(0.02)
        if said:
            real(*said[-1][0], **said[-1][1])
def converge(*words, **more):
    said.append((words, more))
    return real(*words, **more)
files.converge = converge
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
        self._thread.join(10)

    def _write(self) -> None:
        temporary = self.path.with_name("rogue")
        while not self._over.wait(EVERY_SECONDS):
            self.overruled += self.path.read_text() != THEIRS
            temporary.write_text(THEIRS)
            temporary.replace(self.path)
            self.writes += 1


def outlive_a_rogue(root: Path, prelude: str = "") -> tuple[int, int, int]:
    """Govern beside a rogue; return the rogue's writes, the governor's rewrites, and its cycles."""
    root.mkdir()
    program = ("-c", prelude + MAIN)
    with Dashboard() as dashboard, Daemon(root, dashboard.url, interval=0.3, program=program) as daemon:
        daemon.says("No reallocation needed")
        override = root / "runtime/allocations_override.json"
        before = len(entries(root))
        with Rogue(override) as rogue:
            wait_until(lambda: rogue.writes > 0)
            seen = len(entries(root))
            daemon.says("Another writer")
            late = len(entries(root)) - seen
            wait_until(lambda: len(entries(root)) >= before + CYCLES, 30)
        cycles = len(entries(root)) - before
        wait_until(lambda: override.read_text() != THEIRS)
        daemon.end()
    require(late <= 2, f"the rogue was seen after {late} cycles")  # the one under way, and the next
    told = daemon.log.read_text().count("Another writer")
    require(told == 1, f"it was told {told} times")
    # The one before the rogue's first look is our own publication.
    rewrites = rogue.overruled - 1
    require(rewrites <= cycles + 1, f"{rewrites} rewrites in {cycles} cycles")
    return rogue.writes, rewrites, cycles


def test_p21_a_rogue_is_overruled_once_a_cycle(promise: Account, tmp_path: Path) -> None:
    """A rogue that writes every 50 ms is told of once, and rewritten in a cycle and nowhere else."""
    writes, rewrites, cycles = outlive_a_rogue(tmp_path / "root")
    assert writes > rewrites >= CYCLES // 2
    promise.figure(f"{writes} rogue writes, {rewrites} rewrites in {cycles} cycles, told once")
    for name, prelude in (("told each time", TELLS_EACH_TIME), ("fought between cycles", FIGHTS_BACK)):
        with promise.mutant(name):
            outlive_a_rogue(tmp_path / name, prelude)
