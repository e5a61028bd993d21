"""Limits, and the reason each one carries."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from capital_governor.core.limits import agent_limits
from capital_governor.core.model import Agent, Limit
from capital_governor.core.trace import AgentLimits, LimitSource, WeightLimit
from tests.rigs.builders import NOW, PLAIN


def _of_ada(
    *orders: Limit, probation: Collection[Agent] = (), pinned: Mapping[Agent, float] | None = None, now: float = NOW
) -> AgentLimits:
    return agent_limits(["Ada", "Bob"], probation=probation, pinned=pinned or {}, orders=orders, now=now, rules=PLAIN)[
        "Ada"
    ]


def _says(found: AgentLimits) -> tuple[float, LimitSource, float, LimitSource]:
    return found.lo, found.lo_by.source, found.hi, found.hi_by.source


MIN, MAX = LimitSource.MIN_ALLOC, LimitSource.MAX_ALLOC
CAP, FLOOR = LimitSource.OPERATOR_CAP, LimitSource.OPERATOR_FLOOR
PROBATION, PINNED = LimitSource.PROBATION, LimitSource.PINNED


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        pytest.param([], (0.05, MIN, 0.40, MAX), id="none"),
        pytest.param([Limit("Ada", "ops", cap=0.2)], (0.05, MIN, 0.2, CAP), id="a cap"),
        pytest.param([Limit("Ada", "ops", cap=0.9)], (0.05, MIN, 0.40, MAX), id="a cap above MAX_ALLOC binds nothing"),
        pytest.param([Limit("Ada", "ops", cap=0.2), Limit("Ada", "ops", cap=0.1)], (0.05, MIN, 0.1, CAP), id="caps"),
        pytest.param([Limit("Ada", "ops", floor=0.3)], (0.3, FLOOR, 0.40, MAX), id="a floor"),
        pytest.param([Limit("Ada", "ops", floor=0.01)], (0.05, MIN, 0.40, MAX), id="a floor below MIN_ALLOC"),
        pytest.param([Limit("Ada", "ops", cap=0.3, floor=0.1)], (0.1, FLOOR, 0.3, CAP), id="both"),
        pytest.param([Limit("Ada", "ops", floor=0.9)], (0.40, MAX, 0.40, MAX), id="MAX_ALLOC beats a floor"),
        pytest.param([Limit("Ada", "ops", cap=0.0)], (0.0, CAP, 0.0, CAP), id="a cap beats MIN_ALLOC"),
        pytest.param([Limit("Ada", "a", floor=0.3), Limit("Ada", "b", cap=0.2)], (0.2, CAP, 0.2, CAP), id="cap wins"),
        pytest.param([Limit("Bob", "ops", cap=0.1)], (0.05, MIN, 0.40, MAX), id="another agent's"),
        pytest.param([Limit("Zed", "ops", cap=0.1)], (0.05, MIN, 0.40, MAX), id="a stranger's"),
        pytest.param([Limit("Ada", "ops", cap=0.1, until=NOW)], (0.05, MIN, 0.40, MAX), id="expired this second"),
        pytest.param([Limit("Ada", "ops", cap=0.1, until=NOW + 1)], (0.05, MIN, 0.1, CAP), id="expires in a second"),
    ],
)
def test_the_tightest_limit_binds(orders: list[Limit], expected: tuple[float, LimitSource, float, LimitSource]) -> None:
    """The smallest cap is the upper limit, the largest floor the lower one, a cap beats a floor, each is named."""
    assert _says(_of_ada(*orders)) == expected


def test_an_agent_on_probation_has_min_alloc_and_no_more() -> None:
    """Probation caps at MIN_ALLOC, and an operator's floor does not lift that."""
    assert _says(_of_ada(probation={"Ada"})) == (0.05, MIN, 0.05, PROBATION)
    assert _says(_of_ada(Limit("Ada", "ops", floor=0.3), probation={"Ada"})) == (0.05, PROBATION, 0.05, PROBATION)
    assert _says(_of_ada(probation={"Bob"})) == (0.05, MIN, 0.40, MAX)


def test_a_pinned_agent_is_held_at_its_weight() -> None:
    """Without metrics there is no floor but the published weight, and every cap still beats it."""
    assert _says(_of_ada(pinned={"Ada": 0.02})) == (0.02, PINNED, 0.02, PINNED)
    assert _of_ada(pinned={"Ada": 0.02}).floors == (WeightLimit(0.02, PINNED),)
    assert _says(_of_ada(pinned={"Ada": 0.3})) == (0.3, PINNED, 0.3, PINNED)
    assert _says(_of_ada(pinned={"Ada": 0.7})) == (0.40, MAX, 0.40, MAX)
    assert _says(_of_ada(Limit("Ada", "ops", cap=0.1), pinned={"Ada": 0.3})) == (0.1, CAP, 0.1, CAP)


def test_an_operators_limit_names_author_and_reason() -> None:
    """The limit that binds says who set it and why; all others that spoke are kept beside it."""
    found = _of_ada(Limit("Ada", "kim", cap=0.2, reason="broker migration"), Limit("Ada", "lee", floor=0.1))
    assert found.hi_by == WeightLimit(0.2, CAP, "by kim: broker migration")
    assert found.lo_by == WeightLimit(0.1, FLOOR, "by lee")
    assert found.caps == (WeightLimit(0.40, MAX), WeightLimit(0.2, CAP, "by kim: broker migration"))
    assert found.floors == (WeightLimit(0.05, MIN), WeightLimit(0.1, FLOOR, "by lee"))


def test_everyone_asked_for_gets_limits_in_that_order() -> None:
    """One pair of limits each, in the order of the members, strangers left out."""
    found = agent_limits(
        ["Bob", "Ada"],
        probation=["Zed"],
        pinned={"Yan": 0.1},
        orders=[Limit("Xia", "ops", cap=0.1)],
        now=NOW,
        rules=PLAIN,
    )
    assert list(found) == ["Bob", "Ada"]
