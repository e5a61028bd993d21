"""The sums of a day's trades, kept in place of the single trades of older days. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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

    The equity of the day starts at 0.

    Args:
        decisions: number of decisions, attributed or not.
        trades: number of attributed ones.
        wins: number of trades with a profit above 0.
        pnl: the sum of their profits and losses.
        high: the highest point of the day's equity, 0 or above.
        low: its lowest point, 0 or below.
        fall: its deepest fall, 0 or above.
        fall_from: the point from which this fall began.
        first_at: the time of the first trade, in seconds since 1970 UTC; 0 without a trade.
        last_at: the time of the last trade.
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
        """Add a decision; trades must come in the order of their times. ``pnl`` None: it was never attributed."""
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

    def followed_by(self, later: DaySums) -> DaySums:
        """Return the sums of these decisions and, after them, those of ``later``."""
        if not (self.trades and later.trades):
            other = later if later.trades else self
            return replace(other, decisions=self.decisions + later.decisions)
        falls = (
            (self.fall, self.fall_from),
            (later.fall, self.pnl + later.fall_from),
            (self.high - self.pnl - later.low, self.high),
        )
        fall, fall_from = max(falls)
        return DaySums(
            decisions=self.decisions + later.decisions,
            trades=self.trades + later.trades,
            wins=self.wins + later.wins,
            pnl=self.pnl + later.pnl,
            high=max(self.high, self.pnl + later.high),
            low=min(self.low, self.pnl + later.low),
            fall=fall,
            fall_from=fall_from,
            first_at=min(self.first_at, later.first_at),
            last_at=max(self.last_at, later.last_at),
        )

    def part_after(self, start: float) -> float:
        """Return the part of the trades after ``start``, 0..1, as if they were spread evenly over their time."""
        if start < self.first_at:
            return 1.0
        return 0.0 if start >= self.last_at else (self.last_at - start) / (self.last_at - self.first_at)


def day_of(at: float) -> int:
    """Return the UTC day of a time, as a number of days since 1970."""
    return math.floor(at / DAY_SECONDS)
