"""Limits, and the reason each one carries."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from capital_governor.core.limits import agent_limits, shared_caps, withholding_caps
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


def _cap(
    agent: Agent,
    author: str,
    *,
    cap: float,
    floor: float | None = None,
    until: float | None = None,
    reason: str = "",
) -> Limit:
    """A cap whose capital is shared out, and so a limit of the projection."""
    return Limit(agent, author, cap, floor, until, reason, share_out=True)


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        pytest.param([], (0.05, MIN, 0.40, MAX), id="none"),
        pytest.param([_cap("Ada", "ops", cap=0.2)], (0.05, MIN, 0.2, CAP), id="a cap"),
        pytest.param([_cap("Ada", "ops", cap=0.9)], (0.05, MIN, 0.40, MAX), id="a cap above MAX_ALLOC binds nothing"),
        pytest.param([_cap("Ada", "ops", cap=0.2), _cap("Ada", "ops", cap=0.1)], (0.05, MIN, 0.1, CAP), id="caps"),
        pytest.param([Limit("Ada", "ops", cap=0.2)], (0.05, MIN, 0.40, MAX), id="a cap that withholds is no limit"),
        pytest.param([Limit("Ada", "ops", cap=0.2, floor=0.3)], (0.3, FLOOR, 0.40, MAX), id="but its floor is one"),
        pytest.param([_cap("*", "ops", cap=0.2)], (0.05, MIN, 0.2, CAP), id="everybody's cap"),
        pytest.param([_cap("*", "a", cap=0.3), _cap("Ada", "b", cap=0.2)], (0.05, MIN, 0.2, CAP), id="the smaller"),
        pytest.param([Limit("*", "ops", floor=0.1)], (0.1, FLOOR, 0.40, MAX), id="everybody's floor"),
        pytest.param([Limit("Ada", "ops", floor=0.3)], (0.3, FLOOR, 0.40, MAX), id="a floor"),
        pytest.param([Limit("Ada", "ops", floor=0.01)], (0.05, MIN, 0.40, MAX), id="a floor below MIN_ALLOC"),
        pytest.param([_cap("Ada", "ops", cap=0.3, floor=0.1)], (0.1, FLOOR, 0.3, CAP), id="both"),
        pytest.param([Limit("Ada", "ops", floor=0.9)], (0.40, MAX, 0.40, MAX), id="MAX_ALLOC beats a floor"),
        pytest.param([_cap("Ada", "ops", cap=0.0)], (0.0, CAP, 0.0, CAP), id="a cap beats MIN_ALLOC"),
        pytest.param([Limit("Ada", "a", floor=0.3), _cap("Ada", "b", cap=0.2)], (0.2, CAP, 0.2, CAP), id="cap wins"),
        pytest.param([_cap("Bob", "ops", cap=0.1)], (0.05, MIN, 0.40, MAX), id="another agent's"),
        pytest.param([_cap("Zed", "ops", cap=0.1)], (0.05, MIN, 0.40, MAX), id="a stranger's"),
        pytest.param([_cap("Ada", "ops", cap=0.1, until=NOW)], (0.05, MIN, 0.40, MAX), id="expired this second"),
        pytest.param([_cap("Ada", "ops", cap=0.1, until=NOW + 1)], (0.05, MIN, 0.1, CAP), id="expires in a second"),
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
    assert _says(_of_ada(_cap("Ada", "ops", cap=0.1), pinned={"Ada": 0.3})) == (0.1, CAP, 0.1, CAP)


def test_an_operators_limit_names_author_and_reason() -> None:
    """The limit that binds says who set it and why; all others that spoke are kept beside it."""
    found = _of_ada(_cap("Ada", "kim", cap=0.2, reason="broker migration"), Limit("Ada", "lee", floor=0.1))
    assert found.hi_by == WeightLimit(0.2, CAP, "by kim: broker migration")
    assert found.lo_by == WeightLimit(0.1, FLOOR, "by lee")
    assert found.caps == (WeightLimit(0.40, MAX), WeightLimit(0.2, CAP, "by kim: broker migration"))
    assert found.floors == (WeightLimit(0.05, MIN), WeightLimit(0.1, FLOOR, "by lee"))


def test_what_is_ordered_for_everybody_is_for_the_pinned_too() -> None:
    """Its upper limit is its pin, so neither a floor raises it nor MIN_ALLOC; a cap for everybody lowers it."""
    assert _says(_of_ada(Limit("*", "ops", floor=0.1), pinned={"Ada": 0.02})) == (0.02, PINNED, 0.02, PINNED)
    assert _says(_of_ada(_cap("*", "ops", cap=0.01), pinned={"Ada": 0.02})) == (0.01, CAP, 0.01, CAP)


ORDERS = (
    Limit("Ada", "kim", cap=0.3, reason="audit"),
    Limit("Ada", "lee", cap=0.2),
    Limit("Bob", "kim", cap=0.1, until=NOW),
    Limit("*", "lee", cap=0.25, until=NOW + 1),
    Limit("Cyd", "kim", floor=0.1),
    _cap("Bob", "kim", cap=0.05),
    _cap("Cyd", "kim", cap=0.5),
)


def test_a_cap_that_withholds_is_the_smallest_in_force_for_the_agent_or_for_everybody() -> None:
    """Ada has 0.2 of her own; Bob's has expired, so everybody's 0.25 is his, and Cyd's too."""
    found = withholding_caps(["Ada", "Bob", "Cyd"], ORDERS, NOW)
    everybody = WeightLimit(0.25, CAP, "by lee until 2025-11-03 22:00:01 UTC")
    assert found == {"Ada": WeightLimit(0.2, CAP, "by lee"), "Bob": everybody, "Cyd": everybody}
    assert withholding_caps(["Bob"], ORDERS, NOW + 1).get("Bob") is None


def test_in_a_hold_max_alloc_and_the_caps_to_be_shared_out_limit_each_weight() -> None:
    """Bob has his cap of 0.05; Cyd's 0.5 is above MAX_ALLOC."""
    assert shared_caps(["Ada", "Bob", "Cyd"], ORDERS, NOW, PLAIN) == {"Ada": 0.40, "Bob": 0.05, "Cyd": 0.40}


def test_everyone_asked_for_gets_limits_in_that_order() -> None:
    """One pair of limits each, in the order of the members, strangers left out."""
    found = agent_limits(
        ["Bob", "Ada"],
        probation=["Zed"],
        pinned={"Yan": 0.1},
        orders=[_cap("Xia", "ops", cap=0.1)],
        now=NOW,
        rules=PLAIN,
    )
    assert list(found) == ["Bob", "Ada"]
