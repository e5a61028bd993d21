"""Groups: who belongs to which, and the projection with their caps against the oracle's bisection."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

import pytest

from capital_governor.core.allocator import project, project_groups
from capital_governor.core.groups import group_indices
from capital_governor.core.model import Group
from tests.oracle import arithmetic

TO_BISECTION: Final = 1e-9
"""By how much any weight may differ from bisection."""


@dataclass(frozen=True, slots=True)
class Case:
    scores: list[float]
    lo: list[float]
    hi: list[float]
    group: list[int]
    caps: list[float]


def _random_case(seed: int, most: int = 14, groups: int = 4) -> Case:
    """Zero scores, floors, agents without a group, groups without agents, caps and boxes that do not fit."""
    rng = random.Random(seed)  # noqa: S311 - the same cases in every run
    n = rng.randint(1, most)
    scored = rng.choice((0.1, 0.5, 1.0))
    scores = [rng.choice((rng.random(), 0.5, rng.random() * 1e-6)) if rng.random() < scored else 0.0 for _ in range(n)]
    hi = [rng.choice((0.0, 0.05, 0.1, 0.4, 1.0, rng.random())) for _ in range(n)]
    size = rng.choice((0.0, 0.5, 1.0, 3.0)) / n
    lo = [min(cap, rng.choice((0.0, size, size * rng.random()))) for cap in hi]
    caps = [rng.choice((0.0, 0.1, 1 / 3, 0.5, 1.0, rng.random())) for _ in range(rng.randint(1, groups))]
    return Case(scores, lo, hi, [rng.randint(-1, len(caps) - 1) for _ in range(n)], caps)


def _check(case: Case) -> None:
    found = project_groups(case.scores, case.lo, case.hi, case.group, case.caps)
    names = [str(number) for number in range(len(case.scores))]
    expected, floors = arithmetic.project(
        dict(zip(names, case.scores, strict=True)),
        dict(zip(names, case.lo, strict=True)),
        dict(zip(names, case.hi, strict=True)),
        [
            (cap, {name for name, of in zip(names, case.group, strict=True) if of == number})
            for number, cap in enumerate(case.caps)
        ],
    )
    assert found.weights == pytest.approx([expected[name] for name in names], abs=TO_BISECTION), case
    assert list(found.floors) == pytest.approx([floors[name] for name in names], abs=TO_BISECTION), case
    assert all(weight <= cap for weight, cap in zip(found.weights, case.hi, strict=True)), case
    assert math.fsum(found.weights) <= 1.0 + TO_BISECTION, case
    for number, cap in enumerate(case.caps):
        inside = [weight for weight, of in zip(found.weights, case.group, strict=True) if of == number]
        assert math.fsum(inside) <= cap + TO_BISECTION, case


def test_the_projection_with_groups_agrees_with_bisection() -> None:
    """4,000 random cases agree with bisection to 1e-9, and stay inside the limits and the groups' caps."""
    for seed in range(4_000):
        _check(_random_case(seed))


def test_the_projection_of_large_fleets_with_many_groups_agrees_with_bisection() -> None:
    """200 random cases of up to 300 agents in up to 20 groups, in which several rounds decide, agree to 1e-9 too."""
    for seed in range(200):
        _check(_random_case(seed, 300, 20))


def test_the_order_of_the_agents_in_groups_changes_no_bit() -> None:
    """The same agents in another order get exactly the same weights, in 1,000 random cases."""
    for seed in range(1_000):
        case = _random_case(seed, 30)
        order = random.Random(seed).sample(range(len(case.scores)), len(case.scores))  # noqa: S311 - the same every run
        scores, lo, hi = ([column[i] for i in order] for column in (case.scores, case.lo, case.hi))
        found = project_groups(scores, lo, hi, [case.group[i] for i in order], case.caps).weights
        straight = project_groups(case.scores, case.lo, case.hi, case.group, case.caps).weights
        assert found == [straight[i] for i in order], seed


def test_the_random_cases_reach_every_kind() -> None:
    """Groups at their caps, floors above a group's cap, floors above 1, and boxes that cannot be filled occur often."""
    bound = crowded = unfit = unfilled = needed = 0
    for seed in range(500):
        case = _random_case(seed)
        plain = project(case.scores, case.lo, case.hi)
        found = project_groups(case.scores, case.lo, case.hi, case.group, case.caps)
        bound += max(abs(a - b) for a, b in zip(found.weights, plain.weights, strict=True)) > TO_BISECTION
        crowded += bool(found.crowded)
        unfit += found.floor_scale < 1.0
        unfilled += math.fsum(case.hi) < 1.0
        zero = [
            weight > low for weight, low, score in zip(found.weights, case.lo, case.scores, strict=True) if not score
        ]
        needed += any(zero)
    assert min(bound, crowded, unfilled, needed) > 50, (bound, crowded, unfilled, needed)
    assert unfit > 10, unfit


def test_a_group_at_its_cap_shares_it_by_scores_and_the_others_share_what_is_left() -> None:
    """Scores 4, 3, 2, 1; the first two may have 0.35, which is split 4 to 3, and 0.65 is split 2 to 1."""
    found = project_groups([0.4, 0.3, 0.2, 0.1], [0.0] * 4, [1.0] * 4, [0, 0, -1, -1], [0.35])
    assert found.weights == pytest.approx([0.2, 0.15, 0.65 * 2 / 3, 0.65 / 3], abs=1e-15)
    assert (found.floor_scale, found.crowded) == (1.0, ())


def test_what_a_group_may_not_have_can_fill_another() -> None:
    """The first group gives 0.5 to the others, by which the second comes above its cap: it is fixed in a second round.

    By scores 0.6, 0.2, 0.2: the first group has 0.1, then 0.45 and 0.45; the second has 0.3, and the last 0.6.
    """
    found = project_groups([0.6, 0.2, 0.2], [0.0] * 3, [1.0] * 3, [0, 1, -1], [0.1, 0.3])
    assert found.weights == pytest.approx([0.1, 0.3, 0.6], abs=1e-15)


def test_what_a_cap_takes_can_be_just_what_a_floor_needs() -> None:
    """By scores 0.5, 0.25, 0.25: a cap takes 0.25 from the first, and the last needs just that for its floor."""
    found = project_groups([0.5, 0.25, 0.25], [0.0, 0.0, 0.5], [1.0] * 3, [0, -1, -1], [0.25])
    assert found.weights == [0.25, 0.25, 0.5]


def test_floors_of_a_group_that_exceed_its_cap_are_scaled_to_it() -> None:
    """Two floors of 0.2 in a group with a cap of 0.1 are floors of 0.05, and the group is named."""
    found = project_groups([0.0, 0.0, 1.0], [0.2, 0.2, 0.0], [1.0] * 3, [1, 1, -1], [0.5, 0.1])
    assert found.weights == pytest.approx([0.05, 0.05, 0.9], abs=1e-15)
    assert list(found.floors) == pytest.approx([0.05, 0.05, 0.0], abs=1e-15)
    assert (found.floor_scale, found.crowded) == (1.0, (1,))


def test_floors_over_a_cap_by_what_floats_miss_get_no_more_than_the_cap() -> None:
    """Two floors of a quarter and a ten-thousand-millionth are within the tolerance, and add up to the cap of 0.5."""
    found = project_groups([1.0] * 3, [0.2500000001] * 2 + [0.0], [1.0] * 3, [0, 0, -1], [0.5])
    assert found.weights == [0.25, 0.25, 0.5]
    assert (found.floor_scale, found.crowded) == (1.0, ())


def test_then_all_floors_are_scaled_to_one() -> None:
    """0.6 and 0.6 under a cap of 0.6 are 0.3 each; with another 0.6 they are 1.2, and all are divided by 1.2."""
    found = project_groups([1.0] * 3, [0.6] * 3, [1.0] * 3, [0, 0, -1], [0.6])
    assert found.weights == pytest.approx([0.25, 0.25, 0.5], abs=1e-15)
    assert found.floor_scale == pytest.approx(1 / 1.2)
    assert list(found.floors) == pytest.approx([0.25, 0.25, 0.5], abs=1e-15)


def test_what_caps_leave_is_not_deployed() -> None:
    """Two groups of 0.3 each are all there is."""
    found = project_groups([0.4, 0.0, 0.2], [0.0] * 3, [0.2, 1.0, 1.0], [0, 0, 1], [0.3, 0.3])
    assert found.weights == pytest.approx([0.2, 0.1, 0.3], abs=1e-15)


def test_groups_that_bind_nothing_change_nothing() -> None:
    """To the bit: the same weights as without groups."""
    scores, lo, hi = [0.5, 0.3, 0.2], [0.05] * 3, [0.4] * 3
    assert project_groups(scores, lo, hi, [0, 0, 1], [1.0, 0.5]).weights == project(scores, lo, hi).weights


def test_limits_that_add_up_to_one_by_rounding_are_all_reached() -> None:
    """Five agents that may have 0.2 each have that to the bit, in a group as without."""
    scores, lo, hi = [0.5, 0.4, 0.3, 0.2, 0.1], [0.0] * 5, [0.2] * 5
    assert project(scores, lo, hi).weights == hi
    assert project_groups(scores, lo, hi, [0, 0, 0, -1, -1], [0.7]).weights == hi


# --- who belongs to which ---------------------------------------------------------------------------------------------


def test_the_first_group_that_matches_has_the_agent() -> None:
    """By name or glob, in the order of the groups; who matches none has none."""
    groups = (Group("named", 0.1, ("GridB",)), Group("grids", 0.2, ("Grid*", "Net?")), Group("more", 0.3, ("G*",)))
    agents = ["GridA", "GridB", "Golem", "Net1", "Net12", "Other"]
    assert group_indices(agents, groups) == [1, 0, 2, 1, -1, -1]
    assert group_indices(reversed(agents), groups) == [-1, -1, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("pattern", "agent", "matches"),
    [
        pytest.param("Ada", "ada", False, id="upper and lower case differ"),
        pytest.param("Ada", "Ada ", False, id="the whole name"),
        pytest.param("Ada", "Adam", False, id="not the beginning of a name"),
        pytest.param("*", "line\nbreak", True, id="a name with a line break"),
        pytest.param("A.a", "Ada", False, id="a dot is a dot"),
        pytest.param("A(1)|B+", "A(1)|B+", True, id="signs of a regular expression are plain"),
        pytest.param("A(1)|B+", "A1", False, id="and mean nothing else"),
        pytest.param("Bot [1]", "Bot 1", True, id="brackets are a set of characters"),
        pytest.param("Bot [1]", "Bot [1]", False, id="so a name with brackets is not its own pattern"),
        pytest.param("Bot [[]1]", "Bot [1]", True, id="a bracket in a set is a bracket"),
        pytest.param("Bot [!1]", "Bot 2", True, id="not this one"),
        pytest.param("Bot [!1]", "Bot 1", False, id="which is this one"),
        pytest.param("Bot [1", "Bot [1", True, id="a bracket that is not closed is plain"),
        pytest.param("Ünï*", "Ünïcode", True, id="letters of any alphabet"),
    ],
)
def test_a_pattern_matches_as_in_a_shell(pattern: str, agent: str, matches: bool) -> None:
    """``*``, ``?``, ``[set]`` and ``[!set]`` as in a shell; all else stands for itself."""
    assert group_indices([agent], (Group("one", 0.1, (pattern,)),)) == [0 if matches else -1]


def test_a_group_without_patterns_has_nobody() -> None:
    """Those after it are counted on."""
    assert group_indices(["Ada", ""], (Group("none", 0.1, ()), Group("all", 0.1, ("*",)))) == [1, 1]
    assert group_indices(["Ada", "Bob"], ()) == [-1, -1]
