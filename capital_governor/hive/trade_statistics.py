"""Profit, Sharpe ratio, win rate and drawdown of trades, and of day sums for older trades. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from capital_governor.hive.day_sums import DAY_SECONDS, DaySums, Trade, day_of

WINDOW_DAYS: Final = 30
FEWEST_DAYS: Final = 2
NO_DAYS: Final[Mapping[int, DaySums]] = MappingProxyType({})

Gap = tuple[float, float]
"""Beginning and end of a time of which nothing is known, in seconds since 1970 UTC."""


def windowed(trades: Sequence[Trade], now: float, days: float) -> list[Trade]:
    """Return the trades of the last ``days`` x 24 h: ``now - days < at``; oldest first, as they came.

    A trade dated a few seconds ahead counts as made now.
    """
    return list(trades[bisect_right(trades, now - days * DAY_SECONDS, key=lambda trade: trade.at) :])


def windowed_days(days: Mapping[int, DaySums], now: float, window_days: float) -> list[DaySums]:
    """Return the day sums with trades in the last ``window_days`` x 24 h, oldest first; the oldest may begin sooner."""
    start = now - window_days * DAY_SECONDS
    today = day_of(now)
    found = (days[day] for day in sorted(days) if day <= today)
    return [sums for sums in found if sums.trades and sums.part_after(start) > 0.0]


def in_order(days: Iterable[DaySums], trades: Iterable[Trade]) -> list[Trade | DaySums]:
    """Return the steps of an equity curve, oldest first; a day sum counts as made at its first trade."""
    steps: list[Trade | DaySums] = [*days, *trades]
    return sorted(steps, key=lambda step: step.first_at if isinstance(step, DaySums) else step.at)


def profit(trades: Sequence[Trade], now: float, window_days: float, days: Mapping[int, DaySums] = NO_DAYS) -> float:
    """Return the sum of the profits and losses in the last ``window_days`` x 24 h.

    If the window begins within a day that is known by its sums only, its sum counts in proportion to the time.
    """
    start = now - window_days * DAY_SECONDS
    parts = [sums.pnl * sums.part_after(start) for sums in windowed_days(days, now, window_days)]
    return math.fsum([*parts, *(trade.pnl for trade in windowed(trades, now, window_days))])


def daily_sharpe(
    trades: Sequence[Trade],
    now: float,
    capital: float,
    days: Mapping[int, DaySums] = NO_DAYS,
    first_at: float | None = None,
    gaps: Sequence[Gap] = (),
) -> float | str:
    """Return the daily Sharpe ratio over at most 30 days, not annualised; or one clause why it is not defined.

    ``mean(r) / stdev(r)`` of the daily returns ``r = profit of the day / capital``, with the sample deviation (n - 1)
    and a riskless rate of 0 (Sharpe 1994, "The Sharpe Ratio", ex post). Days without a trade count as 0. Days before
    the first trade and days with a gap do not count. Days have 24 hours and are counted back from ``now``; if the
    window has day sums, they are UTC days, of which the last is the current one. The ratio needs two days and returns
    that are not all equal (if all are 0, it is 0). Times sqrt(365) it is the usual annual figure.

    Args:
        trades: known one by one, oldest first.
        now: seconds since 1970 UTC.
        capital: in account currency, above 0.
        days: sums of the other trades, by UTC day.
        first_at: the time of the first trade ever; None: the first of ``trades`` and ``days``.
        gaps: times of which nothing is known.
    """
    grid = _grid(now, days)
    times = [trade.at for trade in trades[:1]] + [sums.first_at for sums in days.values() if sums.trades]
    if first_at is not None:
        times.append(first_at)
    if not times or not (windowed(trades, now, WINDOW_DAYS) or grid.days):
        return f"there is no attributed decision in {WINDOW_DAYS} days"
    first = min(times)
    if now - first <= DAY_SECONDS:
        return (
            f"its attributed decisions reach back {_hours(now - first)}, and it needs two days: the second one begins"
            f" in {_hours(first + DAY_SECONDS - now)}"
        )
    # A day, counted back from now, does not include its beginning.
    count = min(WINDOW_DAYS, grid.index(math.nextafter(first, math.inf)) + 1)
    profits: list[list[float]] = [[] for _ in range(count)]
    for trade in trades[bisect_right(trades, now - (WINDOW_DAYS + 1) * DAY_SECONDS, key=lambda trade: trade.at) :]:
        if (index := grid.index(trade.at)) < WINDOW_DAYS:
            profits[min(count - 1, index)].append(trade.pnl)
    for index, sums in grid.days.items():
        profits[min(count - 1, index)].append(sums.pnl)
    torn = {index for start, end in gaps for index in range(grid.index(end), min(count, grid.index(start) + 1))}
    returns = [math.fsum(day) / capital for index, day in enumerate(profits) if index not in torn]
    if len(returns) < FEWEST_DAYS:
        return _too_torn(len(returns), max(end for _, end in gaps), grid, now)
    mean = math.fsum(returns) / len(returns)
    deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in returns) / (len(returns) - 1))
    if deviation <= 1e-12 * max(map(abs, returns)):  # all equal except for float rounding
        return 0.0 if mean == 0.0 else f"its returns of {len(returns)} days are all alike, {100 * mean:.4g} % each"
    return mean / deviation


def win_rate(trades: Sequence[Trade], days: Iterable[DaySums] = ()) -> float | None:
    """Return the part of trades with a profit above 0, 0..1; None without trades."""
    summed = list(days)
    count = len(trades) + sum(sums.trades for sums in summed)
    wins = sum(trade.pnl > 0 for trade in trades) + sum(sums.wins for sums in summed)
    return wins / count if count else None


def max_drawdown_percent(steps: Iterable[Trade | DaySums], capital: float) -> float:
    """Return the deepest fall of the equity curve below its highest point so far, in percent of that point.

    The curve begins at ``capital`` and rises or falls with each trade. The result is 0 without a loss, and above 100
    only if more than the capital was lost. A day sum counts with its lowest point and its deepest fall in currency.
    """
    return max((deepest for deepest, _ in _curve(steps, capital)), default=0.0)


def drawdown_percent(steps: Iterable[Trade | DaySums], capital: float) -> float:
    """Return how far the equity curve is below its highest point now, in percent of that point."""
    return sum(now for _, now in deque(_curve(steps, capital), maxlen=1))


def _curve(steps: Iterable[Trade | DaySums], capital: float) -> Iterator[tuple[float, float]]:
    """Yield the deepest drawdown in each step and that at its end, in percent."""
    equity = peak = capital
    for step in steps:
        deepest = 0.0
        if isinstance(step, DaySums):
            top = equity + step.fall_from
            higher = max(peak, top)
            deepest = max((peak - equity - step.low) / peak, (higher - top + step.fall) / higher)
            peak = max(peak, equity + step.high)
        equity += step.pnl
        peak = max(peak, equity)
        now = 100.0 * (peak - equity) / peak
        yield max(100.0 * deepest, now), now


@dataclass(frozen=True, slots=True)
class _Grid:
    """The days of a Sharpe ratio, numbered from the newest, which is 0.

    Args:
        index: returns the number of the day of a time.
        begin: returns when the day that is some days after that of a time begins.
        days: day sums by these numbers.
    """

    index: Callable[[float], int]
    begin: Callable[[float, int], float]
    days: Mapping[int, DaySums]


def _grid(now: float, days: Mapping[int, DaySums]) -> _Grid:
    today = day_of(now)
    summed = {today - day: sums for day, sums in days.items() if 0 <= today - day < WINDOW_DAYS and sums.trades}
    if not summed:
        return _Grid(
            lambda at: max(0, math.floor((now - at) / DAY_SECONDS)), lambda at, later: at + later * DAY_SECONDS, summed
        )
    return _Grid(lambda at: max(0, today - day_of(at)), lambda at, later: (day_of(at) + later) * DAY_SECONDS, summed)


def _too_torn(known: int, gap_end: float, grid: _Grid, now: float) -> str:
    older = known - grid.index(gap_end)
    return (
        f"only {known} of its days has no gap in what is known of its decisions, and it needs two: the second one"
        f" begins in {_hours(grid.begin(gap_end, FEWEST_DAYS - older) - now)}"
    )


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 360 else f"{max(1.0, math.ceil(seconds / 60)):.0f} min"  # noqa: PLR2004
