"""Every formula of the hive against numbers computed by hand, for trades and for days that are known by their sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.hive.day_sums import DaySums, Trade, day_of
from capital_governor.hive.trade_statistics import (
    daily_sharpe,
    drawdown_percent,
    max_drawdown_percent,
    profit,
    win_rate,
    windowed,
    windowed_days,
)
from tests.rigs.fleet_files import DAY, HOUR, NOW

CAPITAL: Final = 1_000.0
MIDNIGHT: Final = NOW - 22 * HOUR
TODAY: Final = day_of(NOW)


def trades(*of: tuple[float, float]) -> list[Trade]:
    """Trades by (days ago, pnl), oldest first."""
    return [Trade(NOW - days * DAY, pnl) for days, pnl in of]


def sums(*of: tuple[float, float | None]) -> dict[int, DaySums]:
    """Day sums of trades by (hours before or after the last midnight, pnl)."""
    found: dict[int, DaySums] = {}
    for hours, pnl in of:
        at = MIDNIGHT + hours * HOUR
        found.setdefault(day_of(at), DaySums()).add(at, pnl)
    return found


# --- Sharpe ratio -----------------------------------------------------------------------------------------------------


def test_sharpe_of_three_days() -> None:
    """Returns of 3 %, 1 % and -1 % have mean 1 % and sample deviation 2 %: the ratio is 0.5."""
    assert daily_sharpe(trades((2.5, -10), (1.5, 10), (0.5, 30)), NOW, CAPITAL) == pytest.approx(0.5)


def test_sharpe_adds_up_the_trades_of_a_day() -> None:
    """Many small trades of a day are one return: splitting a trade changes nothing."""
    split = trades((2.9, -4), (2.1, -6), (1.5, 10), (0.9, 10), (0.5, 25), (0.1, -5))
    assert daily_sharpe(split, NOW, CAPITAL) == pytest.approx(0.5)


def test_sharpe_counts_days_without_a_trade_as_zero() -> None:
    """Returns of 4 %, 0, 0, 0 have mean 1 % and sample deviation 2 %: the ratio is 0.5."""
    assert daily_sharpe(trades((3.5, 0), (0.5, 40)), NOW, CAPITAL) == pytest.approx(0.5)


def test_sharpe_of_an_agent_older_than_the_window_has_thirty_days() -> None:
    """One day of 3 % and 29 of 0: mean 0.1 %, sample deviation sqrt(0.00003): the ratio is 1 / sqrt(30)."""
    assert daily_sharpe(trades((40, 500), (0.5, 30)), NOW, CAPITAL) == pytest.approx(1 / math.sqrt(30))


@pytest.mark.parametrize(
    ("of", "why"),
    [
        ((), "there is no attributed decision in 30 days"),
        (((40, 10),), "there is no attributed decision in 30 days"),
        (
            ((0.9, 10), (0.1, -5)),
            "its attributed decisions reach back 21.6 h, and it needs two days: the second one begins in 2.4 h",
        ),
        (
            ((1, 10), (0.1, -5)),
            "its attributed decisions reach back 24.0 h, and it needs two days: the second one begins in 1 min",
        ),
        (((1.5, 10), (0.5, 10)), "its returns of 2 days are all alike, 1 % each"),
        (((2.5, 0.1), (1.5, 0.1), (0.5, 0.1)), "its returns of 3 days are all alike, 0.01 % each"),
    ],
)
def test_sharpe_that_is_not_defined(of: tuple[tuple[float, float], ...], why: str) -> None:
    """Less than two days, or returns all alike, have no ratio, and the sentence says which of them it is."""
    assert daily_sharpe(trades(*of), NOW, CAPITAL) == why


def test_sharpe_of_nothing_gained_and_nothing_lost() -> None:
    """Two days of nothing have the ratio 0."""
    assert daily_sharpe(trades((1.5, 0), (0.5, 0)), NOW, CAPITAL) == 0.0


def test_sharpe_of_utc_days() -> None:
    """Where a day is known by its sums, days are UTC days, of which the last is the running one.

    30 and -20 of one day are 1 %, 30 of the next 3 %, and -10 of today -1 %: mean 1 %, sample deviation 2 %.
    """
    days = sums((-48, 30), (-24.001, -20), (-24, 10), (-23, None))
    assert daily_sharpe([Trade(MIDNIGHT - 1, 20), Trade(MIDNIGHT, -10)], NOW, CAPITAL, days) == (pytest.approx(0.5))


def test_sharpe_of_an_agent_whose_first_day_is_no_longer_kept() -> None:
    """It was there in all the window: 30 days, one of them 3 %: 1 / sqrt(30)."""
    assert daily_sharpe([], NOW, CAPITAL, sums((1, 30)), first_at=NOW - 99 * DAY) == (pytest.approx(1 / math.sqrt(30)))


def test_sharpe_leaves_out_days_with_a_gap() -> None:
    """A day in which something is missing is neither a return nor a zero: 3 %, 1 % and -1 % remain."""
    days = sums((-95, -10), (-71, 500), (-47, 10), (-23, 30))
    gap = (MIDNIGHT - 60 * HOUR, MIDNIGHT - 59 * HOUR)
    today = (MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR)
    assert daily_sharpe([], NOW, CAPITAL, days, gaps=[gap, today]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("days", "gaps", "known", "hours"),
    [
        # The gap ends at 20:00 today: tomorrow is the first whole day and the one after it the second.
        (
            ((-23, 30), (19, 5)),
            [(MIDNIGHT - 20 * HOUR, MIDNIGHT + 20 * HOUR)],
            0,
            "26.0",
        ),
        (
            ((-23, 30), (21, 5)),
            [(MIDNIGHT + 19 * HOUR, MIDNIGHT + 20 * HOUR)],
            1,
            "2.0",
        ),
        (
            ((-47, 30), (-2, 5), (21, 5)),
            [(MIDNIGHT - 40 * HOUR, MIDNIGHT - 20 * HOUR)],
            1,
            "2.0",
        ),
    ],
)
def test_sharpe_of_too_few_days_without_a_gap(
    days: Sequence[tuple[float, float]], gaps: list[tuple[float, float]], known: int, hours: str
) -> None:
    """Two whole days are needed, and the sentence says when the second one begins."""
    assert daily_sharpe([], NOW, CAPITAL, sums(*days), gaps=gaps) == (
        f"only {known} of its days has no gap in what is known of its decisions, and it needs two: the second one"
        f" begins in {hours} h"
    )


# --- drawdown, win rate, windows --------------------------------------------------------------------------------------


def test_drawdown_is_in_percent_of_the_highest_point() -> None:
    """1000, 1100, 880, 1000, 850: the deepest fall is 250 of 1100; then 1150 is a new highest point."""
    fall = trades((5, 100), (4, -220), (3, 120), (2, -150))
    assert max_drawdown_percent(fall, CAPITAL) == pytest.approx(100 * 250 / 1100)
    assert drawdown_percent(fall, CAPITAL) == pytest.approx(100 * 250 / 1100)
    risen = [*fall, *trades((1, 300))]
    assert max_drawdown_percent(risen, CAPITAL) == pytest.approx(100 * 250 / 1100)
    assert drawdown_percent(risen, CAPITAL) == 0.0


def test_drawdown_counts_from_the_capital() -> None:
    """A first trade that loses 50 of 1000 is a drawdown of 5 %; without a trade there is none."""
    assert max_drawdown_percent(trades((1, -50)), CAPITAL) == 5.0
    assert max_drawdown_percent((), CAPITAL) == drawdown_percent((), CAPITAL) == 0.0


def test_win_rate_counts_profits_only() -> None:
    """Of 5, 0, -1, 2 two are profits."""
    assert win_rate(trades((4, 5), (3, 0), (2, -1), (1, 2))) == 0.5
    assert win_rate(()) is None


def test_a_window_ends_now_and_its_beginning_is_out() -> None:
    """24 hours are the last 86,400 seconds: what is exactly that old is out, a millisecond less is in."""
    found = windowed([Trade(NOW - DAY, 1.0), Trade(NOW - DAY + 0.001, 2.0), Trade(NOW, 4.0)], NOW, 1)
    assert [trade.pnl for trade in found] == [2.0, 4.0]


@given(st.lists(st.tuples(st.floats(-5.0, 40.0), st.floats(-100, 100)), max_size=30), st.floats(0.01, 35))
def test_windows_against_a_plain_filter(of: list[tuple[float, float]], days: float) -> None:
    """Whatever the times, a window holds what is younger than its beginning."""
    every = sorted(trades(*of), key=lambda trade: trade.at)
    assert windowed(every, NOW, days) == [trade for trade in every if trade.at > NOW - days * DAY]


@given(
    st.lists(st.tuples(st.integers(0, 26), st.floats(-200, 200)), min_size=1, max_size=40),
    st.integers(0, 40),
)
def test_day_sums_make_the_same_curve(of: list[tuple[int, float]], summed: int) -> None:
    """However many of the first trades are known by sums only, the drawdown now is that of the trades one by one.

    The deepest one is at most that, since a day's sums tell its deepest fall in currency, not in percent.
    """
    every = [Trade(MIDNIGHT - (30 - hour) * HOUR, pnl) for hour, pnl in sorted(of)]
    days: dict[int, DaySums] = {}
    for trade in every[:summed]:
        days.setdefault(day_of(trade.at), DaySums()).add(trade.at, trade.pnl)
    steps: list[Trade | DaySums] = [*(days[day] for day in sorted(days)), *every[summed:]]
    capital = 10_000.0
    assert drawdown_percent(steps, capital) == pytest.approx(drawdown_percent(every, capital), abs=1e-9)
    deepest = max_drawdown_percent(every, capital)
    assert deepest * 0.5 - 1e-9 <= max_drawdown_percent(steps, capital) <= deepest + 1e-9


def test_a_days_deepest_fall_counts() -> None:
    """1000, 1100, 880, 1000 within one day: 220 of 1100, though the day began at 1000 and ended there."""
    day = sums((1, 100), (2, -220), (3, 120))
    assert max_drawdown_percent(day.values(), CAPITAL) == pytest.approx(20.0)
    assert drawdown_percent(day.values(), CAPITAL) == pytest.approx(100 * 100 / 1100)


def test_a_window_takes_its_part_of_a_day() -> None:
    """A day traded from 0:00 to 24:00, 24 in all: at 22:00 the day before lies in the last 24 hours for its last 2."""
    yesterday = sums((-24, 12), (0 - 1e-9, 12))
    assert profit([], NOW, 1, yesterday) == pytest.approx(2.0)
    assert profit(trades((1.5, 7), (0.5, 5)), NOW, 1, yesterday) == pytest.approx(7.0)
    assert profit([], NOW, 7, yesterday) == 24.0
    assert profit([], NOW + 2 * HOUR, 1, yesterday) == 0.0


def test_win_rate_of_sums() -> None:
    """Of 5, 0 and -1 in sums and 2 beside them two are profits; what was never attributed is none of them."""
    days = windowed_days(sums((-30, 5), (-3, 0), (-2, -1), (-1, None)), NOW, 30)
    assert win_rate(trades((0.5, 2)), days) == 0.5
