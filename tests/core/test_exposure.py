"""Exposure multipliers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.core.exposure import Exposure, ceilings, drawdown_multiplier, expose
from capital_governor.core.model import DRAWDOWN, MIN_RESERVE, OPERATOR, REGIME, Ceiling, Regime, Rules
from capital_governor.core.trace import Multiplier
from tests.rigs.builders import NOW, examples, observe, snapshot


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        (0.0, 1.0),
        (5.0, 1.0),
        (7.5, 0.8125),  # 1 - 0.75 * 2.5 / 10
        (10.0, 0.625),  # 1 - 0.75 * 5 / 10
        (14.0, 0.325),  # 1 - 0.75 * 9 / 10
        (15.0, 0.25),
        (60.0, 0.25),
    ],
)
def test_the_line_along_which_drawdown_cuts(percent: float, expected: float) -> None:
    """1 up to 5 %, falling linearly to 0.25 at 15 % and beyond."""
    assert drawdown_multiplier(percent, Rules()) == pytest.approx(expected, abs=1e-15)


def test_the_line_is_made_of_three_settings() -> None:
    """From 10 % to 30 % down to 0: at 15 % a quarter of the way."""
    rules = Rules(drawdown_cut_start_percent=10.0, drawdown_cut_end_percent=30.0, drawdown_cut_floor=0.0)
    assert [drawdown_multiplier(percent, rules) for percent in (10.0, 15.0, 30.0)] == [1.0, 0.75, 0.0]


@examples(300)
@given(st.floats(0.0, 100.0), st.floats(0.0, 100.0), st.floats(0.0, 1.0), st.floats(0.0, 20.0))
def test_more_drawdown_never_means_more_exposure(one: float, other: float, floor: float, width: float) -> None:
    """The line never rises, and never leaves the range from its floor to 1, however steep it is."""
    rules = Rules(drawdown_cut_floor=floor, drawdown_cut_end_percent=5.0 + width)
    less, more = sorted((one, other))
    assert 1.0 >= drawdown_multiplier(less, rules) >= drawdown_multiplier(more, rules) >= floor


@pytest.mark.parametrize(
    ("risk", "drawdown", "value", "by"),
    [
        pytest.param(0.8, 0.0, 0.8, REGIME, id="the regime alone"),
        pytest.param(0.8, 10.0, 0.625, DRAWDOWN, id="the drawdown is more cautious"),
        pytest.param(0.5, 10.0, 0.5, REGIME, id="the regime is more cautious"),
        pytest.param(1.2, 0.0, 1.0, REGIME, id="no leverage"),
        pytest.param(0.0, 15.0, 0.0, REGIME, id="nothing at all"),
    ],
)
def test_the_most_cautious_multiplier_wins_and_is_named(risk: float, drawdown: float, value: float, by: str) -> None:
    """Exposure is the smallest multiplier, and says which that was."""
    found = expose(snapshot(risk=risk, drawdown=drawdown), {}, NOW, (), Rules())
    assert (found.value, found.by) == (value, by)


def test_each_multiplier_says_where_it_comes_from() -> None:
    """A regime of 1.2 counts as 1 and is shown as sent; a missing drawdown is the last known one."""
    found = expose(snapshot(risk=1.2, drawdown=None), {DRAWDOWN: 0.7}, NOW, (), Rules())
    assert found.multipliers == (
        Multiplier(REGIME, 1.0, "payload", 1.2),
        Multiplier(DRAWDOWN, 0.7, "last known"),
    )
    assert (found.value, found.by) == (0.7, DRAWDOWN)


def test_what_was_never_known_counts_as_1_and_stays_unknown() -> None:
    """A default is not remembered as if the dashboard had said it."""
    found = expose(snapshot(risk=None, drawdown=None), {}, NOW, (), Rules())
    assert [(m.value, m.origin) for m in found.multipliers] == [(1.0, "default"), (1.0, "default")]
    assert found.value == 1.0
    assert found.known == {}


def test_missing_blocks_are_like_missing_numbers() -> None:
    """Without guardian and regime both multipliers are the last known ones."""
    bare = replace(snapshot(), guardian=None, regime=None)
    found = expose(bare, {REGIME: 0.6, DRAWDOWN: 0.9}, NOW, (), Rules())
    assert (found.value, found.by) == (0.6, REGIME)
    assert found.known == {REGIME: 0.6, DRAWDOWN: 0.9}


def test_what_the_payload_says_is_known_from_here_on() -> None:
    """The remembered multipliers follow the payload, clipped, and keep what it does not say."""
    found = expose(snapshot(risk=1.2, drawdown=None), {REGIME: 0.5, DRAWDOWN: 0.9}, NOW, (), Rules())
    assert found.known == {REGIME: 1.0, DRAWDOWN: 0.9}
    assert expose(snapshot(risk=0.8, drawdown=10.0), {}, NOW, (), Rules()).known == {REGIME: 0.8, DRAWDOWN: 0.625}


def _aged(risk: float | None, age: float | None, known: dict[str, float]) -> Exposure:
    """The exposure where the regime says that it is so old, in seconds; MAX_AGE is 900 s."""
    at = None if age is None else NOW - age
    return expose(replace(snapshot(), regime=Regime("BULL", risk, at)), {DRAWDOWN: 1.0, **known}, NOW, (), Rules())


@pytest.mark.parametrize(
    ("age", "known", "value", "origin", "warning"),
    [
        pytest.param(900.0, 0.5, 0.8, "payload", "", id="of now"),
        pytest.param(-60.0, 0.5, 0.8, "payload", "", id="as far ahead as clocks may be"),
        pytest.param(None, 0.5, 0.8, "payload", "", id="of unknown age"),
        pytest.param(901.0, 0.5, 0.5, "last known", "its detector may be dead", id="old, would raise"),
        pytest.param(11_000.0, 0.9, 0.8, "stale payload", "may lower exposure, but not raise", id="old, would lower"),
        pytest.param(200_000.0, None, 0.8, "stale payload", "may lower exposure, but not", id="old, alone"),
        pytest.param(-61.0, 0.5, 0.5, "last known", "may lower exposure, but not raise it", id="ahead, would raise"),
        pytest.param(-61.0, 0.9, 0.8, "payload", "may lower exposure, but not raise it", id="ahead, would lower"),
        pytest.param(-61.0, None, 0.8, "payload", "may lower exposure, but not raise it", id="ahead, alone"),
    ],
)
def test_a_regime_that_is_not_of_now_raises_nothing(
    age: float | None, known: float | None, value: float, origin: str, warning: str
) -> None:
    """One older than MAX_AGE, or of the future, may lower the last known one but not raise it; either is said."""
    found = _aged(0.8, age, {} if known is None else {REGIME: known})
    assert (found.value, found.multipliers[0].origin) == (value, origin)
    assert found.known[REGIME] == value
    assert len(found.warnings) == (1 if warning else 0)
    assert all(warning in text for text in found.warnings)


def test_an_old_regime_that_was_taken_cannot_rise_afterwards() -> None:
    """Where none was known an old 0.6 counts; an old 1.2 after it does not, and never counts as more than 1."""
    first = _aged(0.6, 5_000.0, {})
    assert (first.value, _aged(1.2, 5_000.0, dict(first.known)).value) == (0.6, 0.6)
    assert _aged(1.2, 5_000.0, {}).value == 1.0


def test_the_warning_of_an_old_regime_is_the_same_in_each_cycle() -> None:
    """It is told once a day for each text, so it must not change with every cycle."""
    texts = {_aged(0.8, 7_200.0 + 300 * cycle, {REGIME: 0.8}).warnings for cycle in range(1_000)}
    (told,) = texts
    assert told == (
        "the market regime is older than 900 s, its detector may be dead: it may lower exposure, but not raise it",
    )


@pytest.mark.parametrize(
    ("risk", "drawdown", "known", "warning"),
    [
        (None, None, {}, "neither market regime nor drawdown has ever been sent: exposure is 100 %"),
        (None, 0.0, {}, "no market regime has ever been sent: only drawdown lowers exposure"),
        (1.0, None, {}, "no drawdown has ever been sent: only the market regime lowers exposure"),
        (None, None, {REGIME: 0.8, DRAWDOWN: 1.0}, None),
        (1.0, 0.0, {}, None),
    ],
)
def test_what_has_never_been_sent_is_said(
    risk: float | None, drawdown: float | None, known: dict[str, float], warning: str | None
) -> None:
    """A dashboard that never sends a regime or a drawdown is said in one sentence, until it does."""
    found = expose(snapshot(risk=risk, drawdown=drawdown), known, NOW, (), Rules())
    assert found.warnings == (() if warning is None else (warning,))


@pytest.mark.parametrize(
    ("ceiling", "min_reserve", "expected"),
    [
        pytest.param(None, 0.0, (), id="none"),
        pytest.param(Ceiling(0.7, "ops"), 0.0, (Multiplier(OPERATOR, 0.7, "order"),), id="an order"),
        pytest.param(Ceiling(0.0, "ops"), 0.0, (Multiplier(OPERATOR, 0.0, "order"),), id="an order of nothing"),
        pytest.param(Ceiling(0.7, "ops", until=NOW + 1), 0.0, (Multiplier(OPERATOR, 0.7, "order"),), id="in force"),
        pytest.param(Ceiling(0.7, "ops", until=NOW), 0.0, (), id="expired this second"),
        pytest.param(None, 0.25, (Multiplier(MIN_RESERVE, 0.75, "setting"),), id="MIN_RESERVE"),
        pytest.param(
            Ceiling(0.7, "ops"),
            0.25,
            (Multiplier(OPERATOR, 0.7, "order"), Multiplier(MIN_RESERVE, 0.75, "setting")),
            id="both",
        ),
    ],
)
def test_what_a_person_sets_is_a_ceiling(
    ceiling: Ceiling | None, min_reserve: float, expected: tuple[Multiplier, ...]
) -> None:
    """An operator's order while it is in force, and 1 - MIN_RESERVE if that is set."""
    inputs = replace(observe(), ceiling=ceiling)
    assert ceilings(inputs, Rules(min_reserve=min_reserve)) == expected


@pytest.mark.parametrize(
    ("risk", "cap", "reserve", "value", "by"),
    [
        (0.8, 0.7, 0.25, 0.7, OPERATOR),
        (0.8, 0.9, 0.25, 0.75, MIN_RESERVE),
        (0.6, 0.7, 0.25, 0.6, REGIME),
    ],
)
def test_ceilings_are_multipliers_beside_the_payloads(
    risk: float, cap: float, reserve: float, value: float, by: str
) -> None:
    """The smallest of all wins and is named; what a person sets is not remembered as what the dashboard sent."""
    above = (Multiplier(OPERATOR, cap, "order"), Multiplier(MIN_RESERVE, 1.0 - reserve, "setting"))
    found = expose(snapshot(risk=risk), {}, NOW, above, Rules())
    assert (found.value, found.by) == (value, by)
    assert found.multipliers[2:] == above
    assert found.known == {REGIME: risk, DRAWDOWN: 1.0}
