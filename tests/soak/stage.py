"""What every fault of a soak has at hand, and the record of when it was on and whether it did happen."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.rigs.cycle_rig import footprint
from tests.soak.chat import ChatStation
from tests.soak.fleet import FleetStation
from tests.soak.ledger import Ledger
from tests.soak.plant import Plant

PATIENCE_SECONDS: Final = 60.0
STEP_SECONDS: Final = 0.05
DELIVERY_SECONDS: Final = 310.0
"""The longest that a notice waits for its next attempt, and a little."""


class SoakOver(Exception):  # noqa: N818 - the end of a soak is no error
    """The time is up, or something was found after which going on is of no use."""


@dataclass(slots=True)
class Window:
    """One fault: when it began and was over, when the governor decided again, and whether it was seen to happen.

    Times in seconds since 1970 UTC. ``disturbs``: cycles need not come as far as scores meanwhile; ``excuses``: nor
    need any complete, for there is no governor to speak of, or no journal that knows.
    """

    kind: str
    begin: float
    disturbs: bool = True
    excuses: bool = False
    over: float = float("inf")
    end: float = float("inf")
    fired: bool = False
    recovered: bool = True


@dataclass(slots=True)
class Stage:
    """The plant with its surroundings.

    Attributes:
        quiet: held while nobody may write the two files; a rival keeps still then.
        calm: held by what disturbs Telegram, and by what needs it undisturbed.
        over: set when all lanes are to end.
        found: what has been found wrong so far, in words.
        rested: when the last fault was over, in seconds since 1970 UTC.
        noticed: how often damage of the journal was noticed while running (True), or at the next start.
    """

    plant: Plant
    ledger: Ledger
    fleet: FleetStation
    chat: ChatStation
    dice: random.Random
    quiet: threading.Lock = field(default_factory=threading.Lock)
    calm: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    windows: list[Window] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    restarts: int = 0
    crashes: int = 0
    forbidden_writes: int = 0
    rested: float = float("inf")
    noticed: Counter[bool] = field(default_factory=Counter)

    def rest(self, seconds: float) -> None:
        """Let time pass. Raises SoakOver if the soak ends meanwhile."""
        if self.over.wait(seconds):
            raise SoakOver

    def until(self, condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait for something; return whether it came about in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.rest(STEP_SECONDS)
        return True

    def saw(self, since: float, *reasons: str) -> bool:
        """Wait for a cycle after ``since`` with one of these reasons; return whether there was one."""
        return self.until(lambda: self.ledger.since(since, reasons))

    def decided(self, since: float) -> bool:
        """Whether a cycle after ``since`` came as far as scores."""
        return any(row.decided for row in self.ledger.since(since))

    def delivered(self) -> bool:
        """Wait until no notice waits, by the governor's own count; return whether that came about."""
        return self.until(lambda: self.plant.standing()["notices_pending"] == 0, DELIVERY_SECONDS)

    @contextmanager
    def fault(self, kind: str, *, disturbs: bool = True, excuses: bool = False) -> Iterator[Window]:
        """Record a fault; after it the governor has a minute to decide again."""
        window = Window(kind, time.time(), disturbs, excuses)
        self.windows.append(window)
        yield window
        window.over = time.time()
        if disturbs:
            window.recovered = self.until(lambda: self.decided(window.over))
        window.end = time.time()

    def watch_stillness(self, seconds: float) -> None:
        """Let time pass in which neither file may be written; count each write."""
        files = (self.plant.primary, self.plant.override)
        before = footprint(*files)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.rest(STEP_SECONDS)
            now = footprint(*files)
            if now != before:
                self.forbidden_writes += 1
                self.found.append(f"written while paused or stopped: {before} became {now}")
                before = now
