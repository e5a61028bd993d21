"""What is withheld from a plan, and a plan at a lower exposure: numbers in millionths, worked out by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from capital_governor.core.model import Agent, Group, Ppm, Publication
from capital_governor.core.reason import Reason
from capital_governor.core.threshold import lowered
from capital_governor.core.trace import LimitSource, WeightLimit, WithheldBy, Withholding
from capital_governor.core.withholding import Facts, plan_of, scaled, withhold, within_limits
from tests.rigs.builders import FLEET_SHARES, PLAIN, publication

FLEET_PLAN = plan_of(publication(FLEET_SHARES))


def _facts(
    *,
    caps: Mapping[Agent, float] | None = None,
    groups: tuple[Group, ...] = (),
    lapsed: Collection[Agent] = (),
    unwell: Collection[Agent] = (),
    capped: Mapping[Agent, float] | None = None,
    max_step: float = 1.0,
) -> Facts:
    """The facts of a fleet of three with MAX_ALLOC 0.40, but for what is said."""
    orders = {agent: WeightLimit(cap, LimitSource.OPERATOR_CAP, "by ops") for agent, cap in (capped or {}).items()}
    every = dict.fromkeys(FLEET_SHARES, 0.40) if caps is None else caps
    return Facts(every, groups, lapsed, unwell, orders, max_step)


def _withheld(facts: Facts, published: Publication | None = None) -> dict[Agent, tuple[Ppm, WithheldBy]]:
    """What is withheld from the published plan that stays."""
    plan = FLEET_PLAN if published is None else plan_of(published)
    return {agent: (each.amount, each.by) for agent, each in withhold(plan, facts, plan).items()}


# --- a lower exposure -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exposure", "lines"),
    [
        pytest.param(0.95, [380_000, 342_000, 228_000], id="5 points"),
        pytest.param(0.5, [200_000, 180_000, 120_000], id="half"),
        pytest.param(0.0, [0, 0, 0], id="nothing"),
    ],
)
def test_a_lower_exposure_scales_every_line(exposure: float, lines: list[Ppm]) -> None:
    """Lines and shares are multiplied by new/old; the weights stay, so the split outlives an exposure of 0."""
    found = scaled(FLEET_PLAN, exposure)
    assert (list(found.lines.values()), found.exposure) == (lines, exposure)
    assert (list(found.before.values()), found.exposure_before) == (lines, exposure)
    assert found.weights == FLEET_PLAN.weights == pytest.approx({"Ada": 0.4, "Bob": 0.36, "Cyd": 0.24})


def test_what_is_withheld_is_scaled_with_its_line() -> None:
    """Half of Ada's line was withheld at an exposure of 0.8; at 0.4 half of the smaller line is."""
    published = publication({"Ada": 160_000, "Bob": 288_000, "Cyd": 192_000}, 0.8, withheld={"Ada": 160_000})
    found = scaled(plan_of(published), 0.4)
    assert found.lines == {"Ada": 160_000, "Bob": 144_000, "Cyd": 96_000}
    assert found.before == {"Ada": 80_000, "Bob": 144_000, "Cyd": 96_000}


def test_from_an_exposure_of_zero_there_is_nothing_to_scale() -> None:
    """All lines stay at 0."""
    nothing = plan_of(publication(dict.fromkeys(FLEET_SHARES, 0), 0.0))
    assert scaled(nothing, 0.0).lines == dict.fromkeys(FLEET_SHARES, 0)


def test_a_scaled_large_fleet_never_exceeds_the_new_exposure() -> None:
    """Two hundred lines scaled by just under a half do not round up to a millionth more than exposure allows."""
    shares = {f"A{number:03}": 5_000 for number in range(200)}
    found = scaled(plan_of(publication(shares)), 0.4999999999)
    # Each line is 2,499.9999995: rounded up by the added 1e-6, their sum would be 500,000.
    assert set(found.lines.values()) == {2_499}


@pytest.mark.parametrize(
    ("exposure", "reason"),
    [
        pytest.param(1.0, None, id="no change"),
        pytest.param(0.950003, None, id="just less than 5 points"),
        pytest.param(0.95, Reason.CUT_DERISK, id="5 points"),
        pytest.param(0.0, Reason.CUT_EXPOSURE_ZERO, id="zero"),
    ],
)
def test_exposure_falls_under_a_brake_if_that_frees_enough(exposure: float, reason: Reason | None) -> None:
    """The fall is due when it frees 5 points of the plan, or nothing may be deployed; else the plan stays."""
    found = lowered(FLEET_PLAN, exposure, PLAIN)
    assert found == (FLEET_PLAN if reason is None else scaled(FLEET_PLAN, exposure), reason)


def test_a_higher_exposure_raises_nothing() -> None:
    """From 0.8, neither 0.8 nor 1 changes the plan."""
    plan = plan_of(publication({"Ada": 320_000, "Bob": 288_000, "Cyd": 192_000}, 0.8))
    assert lowered(plan, 0.8, PLAIN) == lowered(plan, 1.0, PLAIN) == (plan, None)


def test_what_the_fall_frees_is_counted_in_the_plan() -> None:
    """All of Ada's 400,000 is withheld: the shares fall by 30,000, and the lines by 50,000, which is enough."""
    published = publication({"Ada": 0, "Bob": 360_000, "Cyd": 240_000}, withheld={"Ada": 400_000})
    assert lowered(plan_of(published), 0.95, PLAIN)[1] is Reason.CUT_DERISK


def test_a_threshold_of_zero_lowers_for_one_millionth_but_not_for_none() -> None:
    """A change of exposure too small for any line is no cut."""
    rules = replace(PLAIN, derisk_threshold=0.0)
    plan = plan_of(publication({"Ada": 400_000}))
    assert lowered(plan, 1.0, rules) == (plan, None)
    found, reason = lowered(plan, 0.9999975, rules)
    assert (found.lines, reason) == ({"Ada": 399_999}, Reason.CUT_DERISK)
    # 400,000 x 0.999999999999 is 399,999.9999996, and with the added 1e-6 400,000.
    assert lowered(plan, 0.999999999999, rules) == (plan, None)


def test_an_exposure_that_is_zero_already_is_not_lowered_again() -> None:
    """There is nothing to take; an exposure of 0.5 with empty lines becomes 0."""
    nothing = plan_of(publication(dict.fromkeys(FLEET_SHARES, 0), 0.0))
    assert lowered(nothing, 0.0, PLAIN) == (nothing, None)
    empty = plan_of(publication(dict.fromkeys(FLEET_SHARES, 0), 0.5))
    assert lowered(empty, 0.0, PLAIN)[1] is Reason.CUT_EXPOSURE_ZERO


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_line_above_its_cap_gets_its_cap_and_nobody_else_more() -> None:
    """Bob's cap of 0.30 is 240,000 at an exposure of 0.8; Cyd has none."""
    lines = {"Ada": 320_000, "Bob": 288_000, "Cyd": 192_000}
    most = within_limits(lines, 0.8, {"Ada": 0.40, "Bob": 0.30}, ())
    assert most == {"Ada": 320_000, "Bob": 240_000, "Cyd": 192_000}


def test_a_groups_lines_are_scaled_to_its_cap_after_their_own_caps() -> None:
    """Ada 400,000 and Bob 300,000 by his cap are 700,000: times 0.35/0.7 they are 200,000 and 150,000."""
    most = within_limits(FLEET_SHARES, 1.0, {"Bob": 0.30}, (Group("pair", 0.35, ("Ada", "Bob")),))
    assert most == {"Ada": 200_000, "Bob": 150_000, "Cyd": 240_000}


def test_a_group_within_its_cap_stays_and_scaling_rounds_down() -> None:
    """760,000 within 0.76 stay; within 0.759999 they are 400,000 and 360,000 times 759,999/760,000, rounded down."""
    fits = within_limits(FLEET_SHARES, 1.0, {}, (Group("pair", 0.76, ("Ada", "Bob")), Group("rest", 0.24, ("*",))))
    assert fits == FLEET_SHARES
    # 399,999.47 and 359,999.53.
    most = within_limits(FLEET_SHARES, 1.0, {}, (Group("pair", 0.759999, ("Ada", "Bob")),))
    assert most == {"Ada": 399_999, "Bob": 359_999, "Cyd": 240_000}


def test_a_group_with_a_cap_of_zero_has_nothing() -> None:
    """A group without any lines divides by nothing."""
    groups = (Group("none", 0.0, ("Ada",)), Group("empty", 0.0, ("Nobody*",)))
    assert within_limits(FLEET_SHARES, 1.0, {}, groups) == {"Ada": 0, "Bob": 360_000, "Cyd": 240_000}


# --- what is withheld -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "withheld"),
    [
        pytest.param(_facts(), {}, id="a well fleet within its limits"),
        pytest.param(
            _facts(caps={"Ada": 0.4, "Bob": 0.3, "Cyd": 0.4}), {"Bob": (60_000, WithheldBy.LIMIT)}, id="an upper limit"
        ),
        pytest.param(
            _facts(groups=(Group("pair", 0.38, ("Ada", "Bob")),)),
            {"Ada": (200_000, WithheldBy.GROUP), "Bob": (180_000, WithheldBy.GROUP)},
            id="a group at half of its lines",
        ),
        pytest.param(_facts(lapsed=["Cyd"]), {"Cyd": (240_000, WithheldBy.LAPSED)}, id="lapsed"),
        pytest.param(_facts(caps={"Ada": 0.4, "Bob": 0.4}), {"Cyd": (240_000, WithheldBy.NO_MEMBER)}, id="no member"),
        pytest.param(_facts(unwell=["Cyd"]), {}, id="a faulty agent keeps what it has"),
        pytest.param(_facts(capped={"Ada": 0.1}), {"Ada": (300_000, WithheldBy.CAP)}, id="an operator's cap"),
        pytest.param(_facts(capped={"Ada": 0.4}), {}, id="an operator's cap that binds nothing"),
        pytest.param(
            _facts(lapsed=["Ada"], capped={"Ada": 0.1}), {"Ada": (400_000, WithheldBy.LAPSED)}, id="the smallest counts"
        ),
    ],
)
def test_what_a_plan_line_has_above_the_smallest_bound_is_withheld(
    facts: Facts, withheld: dict[Agent, tuple[Ppm, WithheldBy]]
) -> None:
    """Nothing but these lines changes."""
    assert _withheld(facts) == withheld


def test_a_faulty_agent_has_at_most_its_published_share() -> None:
    """A move would raise Cyd from 240,000 to 360,000: the 120,000 are withheld."""
    moved = replace(FLEET_PLAN, lines={"Ada": 240_000, "Bob": 400_000, "Cyd": 360_000})
    found = withhold(moved, _facts(unwell=["Cyd"]), FLEET_PLAN)
    assert found == {"Cyd": Withholding(120_000, WithheldBy.UNWELL)}


def test_group_scaling_comes_before_an_operators_cap() -> None:
    """The pair is scaled to half of its lines though Ada's cap of 0.05 alone would make room: Bob gains nothing."""
    pair = (Group("pair", 0.38, ("Ada", "Bob")),)
    found = _withheld(_facts(groups=pair, capped={"Ada": 0.05}))
    assert found == {"Ada": (350_000, WithheldBy.CAP), "Bob": (180_000, WithheldBy.GROUP)}


def test_a_withholding_cap_says_who_ordered_it() -> None:
    """The detail is the order's author, end and reason."""
    assert withhold(FLEET_PLAN, _facts(capped={"Ada": 0.1}), None)["Ada"].detail == "by ops"


@pytest.mark.parametrize(
    ("share", "withheld"),
    [
        pytest.param(0, 350_000, id="from nothing a step of 0.05 is given"),
        pytest.param(340_000, 10_000, id="from 0.34 to 0.39"),
        pytest.param(350_000, 0, id="the last step gives all"),
        pytest.param(400_000, 0, id="nothing was withheld"),
    ],
)
def test_what_was_withheld_comes_back_by_steps(share: Ppm, withheld: Ppm) -> None:
    """With MAX_STEP 0.05 at most 0.05 more than the published weight is given, of a line that is withheld from."""
    published = publication({"Ada": share, "Bob": 360_000, "Cyd": 240_000}, withheld={"Ada": 400_000 - share})
    found = _withheld(_facts(max_step=0.05), published)
    assert found == ({"Ada": (withheld, WithheldBy.STEP)} if withheld else {})


def test_a_step_is_one_of_weights() -> None:
    """Ada has 0.10 of what is deployed, half of all capital: a step of 0.05 leads to 0.15, which is 75,000."""
    published = publication({"Ada": 50_000, "Bob": 180_000, "Cyd": 120_000}, 0.5, withheld={"Ada": 150_000})
    assert _withheld(_facts(max_step=0.05), published) == {"Ada": (125_000, WithheldBy.STEP)}


def test_a_step_of_a_move_counts_from_the_published_exposure() -> None:
    """A move to exposure 1 with a line of 400,000: Ada had 0.10 of half the capital, and gets 0.15 of all of it."""
    published = plan_of(publication({"Ada": 50_000, "Bob": 180_000, "Cyd": 120_000}, 0.5, withheld={"Ada": 150_000}))
    moved = replace(published, lines=FLEET_SHARES, exposure=1.0)
    assert withhold(moved, _facts(max_step=0.05), published) == {"Ada": Withholding(250_000, WithheldBy.STEP)}
