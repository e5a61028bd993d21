"""P19: signs of life follow completed cycles: whatever hangs, watchdog, heartbeat and ``valid_until`` stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from capital_governor import client
from tests.promises.ledger import Account, BrokenPromiseError, require
from tests.rigs.daemon import Daemon, configure
from tests.rigs.dashboard import Dashboard, moving
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.raw_server import Script, Server, answer, hang, http
from tests.rigs.service_manager import listening

INTERVAL_SECONDS: Final = 0.1
WATCH_SECONDS: Final = 1.5
"""How long the product is seen to give no sign, fifteen intervals; a mutant is watched until it gives one."""
VALID_SECONDS: Final = 60.0
"""What the status file promises beyond the last cycle, at an interval this short."""
STARTED: Final = """
import os, pathlib, sys, time
os.environ["NOTIFY_SOCKET"] = sys.argv[3] + "/notify"
"""
FAULT: Final = """
flag = pathlib.Path(sys.argv[3], "hang")
def hung(real):
    def call(*words, **more):
        if flag.exists():
            print("FAULT", file=sys.stderr, flush=True)
            time.sleep(1_000_000)
        return real(*words, **more)
    return call
"""
STAGES: Final[Mapping[str, str]] = {
    "parse": """
from capital_governor.service import cycle
cycle.parse = hung(cycle.parse)
""",
    "decide": """
from capital_governor.service import cycle
cycle.decide = hung(cycle.decide)
""",
    "journal": """
from capital_governor.journal.store import Store
Store.record = hung(Store.record)
""",
    "disk": """
os.fsync = hung(os.fsync)
""",
    "status": """
from capital_governor.service.cycle import Cycle
Cycle._write_status = hung(Cycle._write_status)
""",
}
THREAD_LIVES: Final = """
import threading
from capital_governor.adapters.systemd import ServiceManager
def lives():
    while True:
        time.sleep(0.2)
        ServiceManager(os.environ["NOTIFY_SOCKET"]).notify("WATCHDOG=1")
threading.Thread(target=lives, daemon=True).start()
"""
HEART_OF_ITS_OWN: Final = """
import asyncio
from capital_governor.service.governor import Governor
real = Governor.start
def start(self):
    async def pulse():
        while True:
            await asyncio.sleep(0.2)
            self._heartbeat.beat()
    self.pulse = asyncio.create_task(pulse())
    real(self)
Governor.start = start
"""
STATUS_RENEWED: Final = """
import threading
from dataclasses import replace
from capital_governor.service.cycle import Cycle
real = Cycle.conclude
begun = []
def conclude(self, payload):
    def renew():
        while True:
            time.sleep(0.2)
            self.standing = replace(self.standing, at=time.time())
            self.write_status()
    if not flag.exists() and not begun:
        begun.append(threading.Thread(target=renew, daemon=True))
        begun[0].start()
    return real(self, payload)
Cycle.conclude = conclude
"""
VOUCHED_FOR_AN_HOUR: Final = """
from capital_governor.service import cycle
real = cycle.status_document
cycle.status_document = lambda *words, **more: real(*words, **(more | {"interval_seconds": 1200.0}))
"""
MUTANTS: Final[Mapping[str, str]] = {
    "a thread tells the watchdog": THREAD_LIVES,
    "the heart beats on its own": HEART_OF_ITS_OWN,
    "a thread renews the status": STATUS_RENEWED,
    "vouched for an hour ahead": VOUCHED_FOR_AN_HOUR,
}


@dataclass(frozen=True, slots=True)
class Signs:
    """What shows that a governor lives: messages to the watchdog, GETs at the dead man's switch, ``valid_until``."""

    watchdog: int
    heartbeat: int
    valid_until: str


class Alive:
    """A governor with all three signs, seen from outside."""

    def __init__(self, daemon: Daemon, messages: Callable[[], list[str]], switch: Server) -> None:
        self.daemon = daemon
        self._messages = messages
        self._switch = switch

    def signs(self) -> Signs:
        lives = sum(text.startswith("WATCHDOG=1") for text in self._messages())
        return Signs(lives, self._switch.connections, self.daemon.status()["valid_until"])

    def wait_for_signs(self, more: int) -> None:
        """Wait until so many more have come of each kind, and the status file has been renewed."""
        wait_until((self.daemon.root / "runtime/capital_governor_status.json").exists)
        old = self.signs()

        def renewed() -> bool:
            new = self.signs()
            enough = min(new.watchdog - old.watchdog, new.heartbeat - old.heartbeat) >= more
            return enough and new.valid_until != old.valid_until

        wait_until(renewed)

    def see_none(self, seconds: float) -> float:
        """See no sign of any kind for so long, now that it hangs; return when that began, in seconds since 1970 UTC."""
        hung_at, last = time.time(), self.signs()
        until = datetime.fromisoformat(last.valid_until).timestamp()
        require(until <= hung_at + VALID_SECONDS, "it is vouched for beyond its last cycle")
        # The GET of the last completed cycle may still be on its way.
        on_its_way = replace(last, heartbeat=last.heartbeat + 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            require(self.signs() in (last, on_its_way), f"it hangs and gives signs: {self.signs()}, before: {last}")
            time.sleep(0.02)
        return hung_at


@contextmanager
def alive(root: Path, script: Script, prelude: str = "", **own: Any) -> Iterator[Alive]:
    """Start a governor as systemd does, with a dead man's switch."""
    root.mkdir()
    with listening(root / "notify") as messages, Server(answer(http(b""))) as switch, Dashboard(script) as dashboard:
        configure(root, CAPITAL_GOVERNOR_HEARTBEAT_URL=switch.url)
        with Daemon(root, dashboard.url, interval=INTERVAL_SECONDS, prelude=STARTED + prelude, **own) as daemon:
            yield Alive(daemon, messages, switch)


def hang_in(root: Path, stage: str, prelude: str = "", *, watch_seconds: float = WATCH_SECONDS) -> float:
    """Let a governor hang in a stage of its cycle and see no sign; return when, in seconds since 1970 UTC."""
    with alive(root, moving(), FAULT + STAGES[stage] + prelude) as governor:
        governor.wait_for_signs(3)
        (root / "hang").touch()
        governor.daemon.says("FAULT")
        return governor.see_none(watch_seconds)


def seconds_vouched(root: Path, hung_at: float, patch: pytest.MonkeyPatch) -> int:
    """Return how many seconds after the hang an agent first learns of it."""
    for seconds in range(1, int(VALID_SECONDS) + 1):
        with patch.context() as clock:
            clock.setattr(client, "time", SimpleNamespace(time=lambda at=hung_at + seconds: at))
            if client.read_allocations(root).stale:
                return seconds
    raise BrokenPromiseError(f"agents are told that all is well {VALID_SECONDS:.0f} s after the hang")


def test_p19_what_hangs_gives_no_sign_of_life(
    promise: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hung while it parses, decides, records, publishes or reports, the process lives on and all its signs stop."""
    with ThreadPoolExecutor(4) as pool:
        stages = {stage: pool.submit(hang_in, tmp_path / stage, stage) for stage in STAGES}
        mutants = {
            name: pool.submit(hang_in, tmp_path / f"mutant {number}", "decide", prelude, watch_seconds=PATIENCE_SECONDS)
            for number, (name, prelude) in enumerate(MUTANTS.items())
        }
    seen = {stage: future.result() for stage, future in stages.items()}
    agents = max(seconds_vouched(tmp_path / stage, hung_at, monkeypatch) for stage, hung_at in seen.items())
    promise.figure(
        f"hung in {', '.join(STAGES)}: no sign in the {round(WATCH_SECONDS / INTERVAL_SECONDS)} intervals after,"
        f" seen after {agents} s by agents"
    )
    for name, future in mutants.items():
        with promise.mutant(name):
            future.result()


def test_p19_a_dashboard_that_hangs_is_no_death(promise: Account, tmp_path: Path) -> None:
    """A fetch ends at its deadline, its cycle is a hold like others, and all signs go on."""
    with alive(tmp_path / "root", hang, FETCH_DEADLINE="0.1") as governor:
        governor.wait_for_signs(5)
        assert governor.daemon.status()["reason"] == "fetch_failed"
        governor.daemon.end()
    promise.figure("hung in fetch: its deadline, and all signs go on")
