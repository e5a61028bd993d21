"""What is kept of a day's trades when they are too many to be kept one by one. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Trade:
    """One attributed decision: when, in seconds since 1970 UTC, and its profit or loss in account currency."""

    at: float
    pnl: float


@dataclass(slots=True)
class DaySums:
    """Sums over decisions of one UTC day; amounts in account currency.

    The equity of the day is counted from its beginning, which is 0.

    Args:
        decisions: how many, attributed or not.
        trades: how many of them are attributed.
        wins: how many of these have a profit above 0.
        pnl: the sum of their profits and losses.
        high: the highest point of the day's equity, 0 or above.
        low: its lowest point, 0 or below.
        fall: its deepest fall, 0 or above.
        fall_from: its point from which it fell so deep.
        first_at: the time of the first trade, in seconds since 1970 UTC; 0 without a trade.
        last_at: the time of the last one.
    """

    decisions: int = 0
    trades: int = 0
    wins: int = 0
    pnl: float = 0.0
    high: float = 0.0
    low: float = 0.0
    fall: float = 0.0
    fall_from: float = 0.0
    first_at: float = 0.0
    last_at: float = 0.0

    def add(self, at: float, pnl: float | None) -> None:
        """Add a decision, the day's trades in the order of their times; ``pnl`` None: it was never attributed."""
        self.decisions += 1
        if pnl is None:
            return
        self.first_at = min(at, self.first_at) if self.trades else at
        self.last_at = max(at, self.last_at)
        self.trades += 1
        self.wins += pnl > 0
        self.pnl += pnl
        self.high, self.low = max(self.high, self.pnl), min(self.low, self.pnl)
        if self.high - self.pnl > self.fall:
            self.fall, self.fall_from = self.high - self.pnl, self.high

    def part_after(self, start: float) -> float:
        """Return which part of the trades lies after ``start``, 0..1, as if they were spread evenly over their time."""
        if start < self.first_at:
            return 1.0
        return 0.0 if start >= self.last_at else (self.last_at - start) / (self.last_at - self.first_at)


def day_of(at: float) -> int:
    """Return the UTC day of a time, as a number of days since 1970."""
    return math.floor(at / DAY_SECONDS)
