"""The oracle's projection with groups, beside numbers by hand and beside a second way to it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import pytest

from tests.oracle.arithmetic import Team, project, round_shares

CASES = 1_000


def test_a_group_above_its_cap_has_its_cap_and_shares_it_as_it_would_share_all() -> None:
    """What the pair may not have, the others share by their scores."""
    scores = {"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.1}
    weights, _ = project(scores, dict.fromkeys(scores, 0.0), dict.fromkeys(scores, 1.0), [(0.35, {"A", "B"})])
    assert weights == pytest.approx({"A": 0.2, "B": 0.15, "C": 0.65 * 2 / 3, "D": 0.65 / 3}, abs=1e-12)


def test_floors_of_a_group_that_exceed_its_cap_are_scaled_to_it() -> None:
    """Two floors of 0.2 under a cap of 0.1 are floors of 0.05."""
    scores = {"A": 0.0, "B": 0.0, "C": 1.0}
    low, high = {"A": 0.2, "B": 0.2, "C": 0.0}, dict.fromkeys(scores, 1.0)
    weights, floors = project(scores, low, high, [(0.1, {"A", "B"})])
    assert floors == pytest.approx({"A": 0.05, "B": 0.05, "C": 0.0}, abs=1e-12)
    assert weights == pytest.approx({"A": 0.05, "B": 0.05, "C": 0.9}, abs=1e-12)


def test_what_no_cap_allows_is_reserve() -> None:
    """Two groups of 0.3 each leave 0.4."""
    scores = {"A": 0.4, "B": 0.0, "C": 0.2}
    teams: list[Team] = [(0.3, {"A", "B"}), (0.3, {"C"})]
    weights, _ = project(scores, dict.fromkeys(scores, 0.0), {"A": 0.2, "B": 1.0, "C": 1.0}, teams)
    assert weights == pytest.approx({"A": 0.2, "B": 0.1, "C": 0.3}, abs=1e-12)


def test_the_remainder_goes_only_where_the_group_too_stays_within_its_cap() -> None:
    """One and a half millionths twice, under a cap of three, are one and two; under a cap of two, one and one."""
    weights, high = {"A": 1.5e-6, "B": 1.5e-6}, {"A": 1.0, "B": 1.0}
    assert round_shares(weights, high, 1.0, [(3e-6, {"A", "B"})])[0] == {"A": 2, "B": 1}
    assert round_shares(weights, high, 1.0, [(2e-6, {"A", "B"})])[0] == {"A": 1, "B": 1}


def test_halving_the_range_of_the_factor_finds_what_fixing_one_group_after_another_finds() -> None:
    """With zero scores, floors, and limits that leave no way to add up to 1, too."""
    for seed in range(CASES):
        rng = random.Random(seed)  # noqa: S311 - the same cases in every run
        names = [f"agent {number}" for number in range(rng.randint(1, 12))]
        scores = {name: rng.choice((0.0, rng.random(), rng.random() * 1e-6, 0.5)) for name in names}
        high = {name: rng.choice((0.0, 0.05, 0.1, 0.4, 1.0, rng.random())) for name in names}
        low = {name: min(high[name], rng.choice((0.0, 0.02, 0.05, 0.3 * rng.random()))) for name in names}
        rng.shuffle(names)
        cuts = sorted(rng.randint(0, len(names)) for _ in range(3))
        teams: list[Team] = [
            (rng.choice((0.0, 0.1, 1 / 3, 0.5, 1.0, rng.random())), set(names[start:end]))
            for start, end in zip([0, *cuts], cuts, strict=False)
        ]
        weights, floors = project(scores, low, high, teams)
        wanted = one_after_another(scores, floors, high, teams)
        assert max(abs(weights[name] - wanted[name]) for name in names) < 1e-12, seed
        assert math.fsum(weights.values()) <= 1 + 1e-12


def one_after_another(
    scores: Mapping[str, float], floors: Mapping[str, float], high: Mapping[str, float], teams: list[Team]
) -> dict[str, float]:
    """Share out without groups, fix those above their caps, and begin again with the others and what is left."""
    fixed: dict[str, float] = {}
    free, left = set(scores), 1.0
    while True:
        weights = within(left, {name: scores[name] for name in free}, floors, high)
        over = [team for team in teams if team[1] <= free and sum(weights[name] for name in team[1]) > team[0] + 1e-12]
        if not over:
            return fixed | weights
        for cap, team in over:
            fixed |= within(cap, {name: scores[name] for name in team}, floors, high)
            free -= team
            left -= cap


def within(
    total: float, scores: Mapping[str, float], floors: Mapping[str, float], high: Mapping[str, float]
) -> dict[str, float]:
    """Return the weights of one group, or of those in none, that add up to ``total`` or come as near as they can.

    Those are the weights of a fleet in which somebody else is fixed at all the rest.
    """
    rest = {"somebody else": 1 - total}
    parts = project(dict(scores) | rest, {name: floors[name] for name in scores} | rest, dict(high) | rest)
    return {name: parts[0][name] for name in scores}
