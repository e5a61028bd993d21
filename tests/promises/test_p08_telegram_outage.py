"""P8: an outage of Telegram, of whatever kind, delays no cycle.

Cycles are completed while a message is on its way that is never answered: none waits for it. How long cycles take with
Telegram up and down is a figure, for it says more about what else the machine does.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.promises.ledger import Account, require
from tests.rigs.bot_api import Answer, BotApi, Exchange, bad_gateway, ok, pause, reset
from tests.rigs.daemon import Daemon, configure, pending
from tests.rigs.dashboard import DOWN, Dashboard, moving
from tests.rigs.patience import PATIENCE_SECONDS, wait_until

CYCLES: Final = 30
MUTANT_PATIENCE_SECONDS: Final = 5.0
"""A mutant that waits for what is never answered completes no cycle, so there is no need to wait long for one."""
OUTAGES: Final[Mapping[str, Answer]] = {"reset": reset, "429": pause(0), "502": bad_gateway}

TIMED: Final = """
import asyncio, sys, time
from telegram.request import HTTPXRequest
from capital_governor.adapters import telegram
from capital_governor.service import daemon, notifications, outbox
from capital_governor.service.governor import Governor

# Each outage is met many times in a test, so attempts follow quickly; what is not answered is waited for for ever.
outbox.FIRST_WAIT_SECONDS = outbox.LONGEST_WAIT_SECONDS = 0.1
telegram.Telegram.__init__.__kwdefaults__["deadline_seconds"] = 1e6
make_request = HTTPXRequest.__init__
def never_tired(self, **own):
    make_request(self, **own, read_timeout=1e6, write_timeout=1e6, connect_timeout=1e6, pool_timeout=1e6)
HTTPXRequest.__init__ = never_tired

due, beat, tick, book = [], daemon.schedule, Governor.guarded_tick, open(sys.argv[3] + ".cycles", "a", buffering=1)
def schedule(*words):
    due.append(beat(*words))
    return due[-1]
async def guarded_tick(self):
    usable = await tick(self)
    if due:
        book.write(f"{time.monotonic() - due[-1]}\\n")
    return usable
daemon.schedule, Governor.guarded_tick = schedule, guarded_tick
"""
IN_THE_CYCLE: Final = """
post = notifications.Notifications.post
async def post_and_flush(self):
    await post(self)
    await self._outbox.flush()
notifications.Notifications.post = post_and_flush
notifications.Notifications.start = lambda self: None
"""
BLOCKING: Final = """
import urllib.request
async def send(self, text):
    try:
        urllib.request.urlopen(f"{self._base_url}{self._token}/sendMessage", b"text=x&chat_id=1", timeout=1e6).read()
    except OSError:
        return outbox.Retry("blocked")
    return outbox.Sent()
telegram.Telegram.send = send
"""


@dataclass(frozen=True, slots=True)
class Delay:
    """The 99th percentile of the seconds from when a cycle was due until it was over, with Telegram up and down."""

    up_seconds: float
    down_seconds: float
    cycles: int


class Timed:
    """A governor whose every cycle is a move to be told, and the seconds of its cycles."""

    def __init__(self, daemon: Daemon, dashboard: Dashboard, api: BotApi, patience_seconds: float) -> None:
        self._daemon = daemon
        self._dashboard = dashboard
        self._api = api
        self._patience_seconds = patience_seconds
        self._book = Path(f"{daemon.root}.cycles")

    def drain(self) -> None:
        """Tell all there is to be told."""
        self._api.next(ok)
        self._dashboard.next(DOWN)
        wait_until(lambda: pending(self._daemon.root) == 0)
        self._dashboard.next(moving())

    def cycles(self, count: int, answer: Answer) -> list[float]:
        """Let Telegram answer so, and return the seconds of so many cycles from the first request on."""
        self._api.next(answer)
        self._api.wait_asked(len(self._api.asked) + 1)
        asked = len(self._api.asked)
        found = self._completed(count, PATIENCE_SECONDS)
        self._api.wait_asked(asked + 1)  # and not once only
        return found

    def cycles_without_answer(self, count: int) -> list[float]:
        """Let Telegram leave one message without an answer, and return the seconds of so many cycles meanwhile."""
        begun, enough = threading.Event(), threading.Event()
        self._api.next(unanswered(begun, enough))
        assert begun.wait(PATIENCE_SECONDS)
        asked = len(self._api.asked)
        found = self._completed(count, self._patience_seconds)
        assert (len(self._api.asked), self._api.gave_up) == (asked, 0), "the message did not stay without an answer"
        enough.set()
        return found

    def _completed(self, count: int, patience_seconds: float) -> list[float]:
        before, end = len(self._seconds()), time.monotonic() + patience_seconds
        while len(found := self._seconds()[before:]) < count:
            waited = f"{len(found)} cycles in {patience_seconds:.0f} s while Telegram is down"
            require(time.monotonic() < end, waited)
            time.sleep(0.01)
        return found

    def _seconds(self) -> list[float]:
        return [float(line) for line in self._book.read_text().splitlines(keepends=True) if line.endswith("\n")]


def unanswered(begun: threading.Event, enough: threading.Event) -> Answer:
    """Leave the message without an answer until it is enough, then break off."""

    def script(exchange: Exchange) -> None:
        begun.set()
        while not (exchange.connection.over(0.02) or enough.is_set()):
            pass

    return script


def delay_by_outages(
    root: Path,
    prelude: str = "",
    *,
    outages: Mapping[str, Answer] = OUTAGES,
    count: int = CYCLES,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Delay:
    """Govern with Telegram up, then silent, then down in each other way; return how long cycles took.

    ``patience_seconds`` is for the cycles while it is silent.
    """
    root.mkdir()
    with Dashboard(moving()) as dashboard, BotApi(patience_seconds=10 * PATIENCE_SECONDS) as api:
        configure(root, api)
        with Daemon(root, dashboard.url, interval=0.05, prelude=TIMED + prelude) as daemon:
            api.wait_for(1)
            timed = Timed(daemon, dashboard, api, patience_seconds)
            timed.drain()
            up = timed.cycles(count, ok)
            down = timed.cycles_without_answer(count)
            down += [second for answer in outages.values() for second in timed.cycles(count, answer)]
            daemon.end()
    return Delay(p99(up), p99(down), len(down))


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]


def test_p08_no_outage_of_telegram_delays_a_cycle(promise: Account, tmp_path: Path) -> None:
    """While it does not answer, breaks off, asks for pauses or errs, cycles with something to tell are completed."""
    seen = delay_by_outages(tmp_path / "root")
    promise.figure(
        f"{CYCLES} cycles while a message was never answered; cycle p99 with Telegram up"
        f" {seen.up_seconds * 1e3:.0f} ms, down {seen.down_seconds * 1e3:.0f} ms"
        f" ({seen.cycles} cycles: hang, {', '.join(OUTAGES)})"
    )
    mutants = {"delivered within the cycle": IN_THE_CYCLE, "sent by a client that blocks": BLOCKING}
    with ThreadPoolExecutor() as pool:
        delays = {
            name: pool.submit(
                delay_by_outages,
                tmp_path / name,
                prelude,
                outages={},
                count=4,
                patience_seconds=MUTANT_PATIENCE_SECONDS,
            )
            for name, prelude in mutants.items()
        }
    for name, future in delays.items():
        with promise.mutant(name, f" cycles in {MUTANT_PATIENCE_SECONDS:.0f} s while Telegram is down"):
            future.result()
