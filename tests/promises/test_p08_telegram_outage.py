"""P8: an outage of Telegram, of whatever kind, adds less than 50 ms to a cycle."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.botapi import Answer, BotApi, bad_gateway, hang, ok, pause, reset
from tests.promises.ledger import Account, require
from tests.serving import Dashboard, wait_until
from tests.test_daemon import Daemon
from tests.test_notifications import DOWN, configure, moving, pending

ADDED_SECONDS: Final = 0.05
CYCLES: Final = 30
ROUNDS: Final = 4
"""A machine that is busy otherwise may spoil one comparison; what an outage adds is in every one of them."""
PATIENCE_SECONDS: Final = 60.0
OUTAGES: Final[Mapping[str, Answer]] = {"hang": hang, "reset": reset, "429": pause(0), "502": bad_gateway}

MAIN: Final = "\nfrom capital_governor.__main__ import main\nmain()\n"
TIMED: Final = """
import asyncio, sys, time
from capital_governor import daemon, delivery
from capital_governor.adapters import outbox, telegram
from capital_governor.governor import Governor

# Each outage is met many times in a test: attempts follow quickly, and a server that hangs is given up soon.
outbox.FIRST_WAIT_SECONDS = outbox.LONGEST_WAIT_SECONDS = 0.1
telegram.Telegram.__init__.__kwdefaults__["deadline_seconds"] = 0.6

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
post = delivery.Delivery.post
async def post_and_flush(self):
    await post(self)
    await self._outbox.flush()
delivery.Delivery.post = post_and_flush
delivery.Delivery.start = lambda self: None
"""
BLOCKING: Final = """
import urllib.request
async def send(self, text):
    try:
        urllib.request.urlopen(f"{self._base_url}{self._token}/sendMessage", b"text=x&chat_id=1", timeout=0.6).read()
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

    @property
    def added_seconds(self) -> float:
        return self.down_seconds - self.up_seconds


class Timed:
    """A governor whose every cycle is a move to be told, and the seconds of its cycles."""

    def __init__(self, daemon: Daemon, dashboard: Dashboard, api: BotApi) -> None:
        self._daemon = daemon
        self._dashboard = dashboard
        self._api = api
        self._book = Path(f"{daemon.root}.cycles")

    def drain(self) -> None:
        """Tell all there is to be told."""
        self._api.next(ok)
        self._dashboard.next(DOWN)
        wait_until(lambda: pending(self._daemon.root) == 0, PATIENCE_SECONDS)
        self._dashboard.next(moving())

    def cycles(self, count: int, answer: Answer) -> list[float]:
        """Let Telegram answer so, and return the seconds of so many cycles from the first request on."""
        self._api.next(answer)
        self._api.wait_asked(len(self._api.asked) + 1, PATIENCE_SECONDS)
        asked, before, end = len(self._api.asked), len(self._seconds()), time.monotonic() + PATIENCE_SECONDS
        while len(found := self._seconds()[before:]) < count:
            require(time.monotonic() < end, f"{len(found)} cycles in {PATIENCE_SECONDS:.0f} s")
            time.sleep(0.01)
        self._api.wait_asked(asked + 1, PATIENCE_SECONDS)  # and not once only
        return found

    def _seconds(self) -> list[float]:
        return [float(line) for line in self._book.read_text().splitlines(keepends=True) if line.endswith("\n")]


def delay_by_outages(
    root: Path,
    prelude: str = "",
    *,
    outages: Mapping[str, Answer] = OUTAGES,
    count: int = CYCLES,
    most_rounds: int = ROUNDS,
) -> Delay:
    """Govern with Telegram up and down in turn; return the least that an outage added in a few rounds."""
    root.mkdir()
    with Dashboard(moving()) as dashboard, BotApi() as api:
        configure(root, api)
        program = ("-c", TIMED + prelude + MAIN)
        with Daemon(root, dashboard.url, interval=0.05, program=program) as daemon:
            api.wait_for(1, PATIENCE_SECONDS)  # now its library is loaded, which the weather has no part in
            timed = Timed(daemon, dashboard, api)
            rounds: list[Delay] = []
            while len(rounds) < most_rounds and not (rounds and rounds[-1].added_seconds < ADDED_SECONDS):
                timed.drain()
                up = timed.cycles(count, ok)
                down = [second for answer in outages.values() for second in timed.cycles(count, answer)]
                rounds.append(Delay(p99(up), p99(down), len(down)))
            daemon.end()
    least = min(rounds, key=lambda each: each.added_seconds)
    require(least.added_seconds < ADDED_SECONDS, f"an outage adds {least.added_seconds * 1e3:.0f} ms to a cycle")
    return least


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]


def test_p08_no_outage_of_telegram_delays_a_cycle(promise: Account, tmp_path: Path) -> None:
    """While it hangs, breaks off, asks for pauses or errs, cycles with something to tell are over as soon as ever."""
    seen = delay_by_outages(tmp_path / "root")
    promise.figure(
        f"cycle p99 with Telegram up {seen.up_seconds * 1e3:.0f} ms, down {seen.down_seconds * 1e3:.0f} ms"
        f" ({seen.cycles} cycles: {', '.join(OUTAGES)})"
    )
    mutants = {"delivered within the cycle": IN_THE_CYCLE, "sent by a client that blocks": BLOCKING}
    with ThreadPoolExecutor() as pool:
        delays = {
            name: pool.submit(
                delay_by_outages, tmp_path / name, prelude, outages={"hang": hang}, count=4, most_rounds=2
            )
            for name, prelude in mutants.items()
        }
    for name, future in delays.items():
        with promise.mutant(name):
            future.result()
