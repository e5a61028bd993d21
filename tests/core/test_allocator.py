"""The projection against two oracles that share no code with it: bisection, and the divergence it should minimise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import cvxpy
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from capital_governor.core.allocator import project, step
from tests.rigs.builders import examples

TO_BISECTION: Final = 1e-9
TO_SOLVER: Final = 5e-6
"""By how much any weight may differ: from bisection, and from a general solver that stops at a tolerance of its own."""


@dataclass(frozen=True, slots=True)
class Case:
    scores: list[float]
    lo: list[float]
    hi: list[float]


def _random_case(rng: random.Random, most: int) -> Case:
    """Limits for each agent or for all, scores over many magnitudes, zero, equal; boxes that do not fit among them."""
    n = rng.choice((1, 2, 3, 5, rng.randint(1, most), rng.randint(1, most)))
    kinds: dict[str, Callable[[], float]] = {
        "uniform": rng.random,
        "zeros": lambda: rng.choice((0.0, rng.random())),
        "mostly zeros": lambda: rng.random() if rng.random() < 0.1 else 0.0,
        "magnitudes": lambda: 10.0 ** rng.uniform(-300, 0),
        "subnormal": lambda: 5e-324 * rng.randint(0, 50),
        "equal": lambda: 0.25,
        "few": lambda: rng.choice((0.25, 0.5, 1.0)),
    }
    drawn = kinds[rng.choice(tuple(kinds))]
    scores = [drawn() for _ in range(n)]
    size = rng.choice((0.2, 1.0, 1.0, 2.0, 6.0)) / n
    if rng.random() < 0.5:
        floor = rng.choice((0.0, rng.random() * size))
        lo, hi = [min(1.0, floor)] * n, [min(1.0, floor + rng.random() * 2 * size)] * n
    else:
        pairs = [sorted((rng.random() * size * rng.choice((0, 1)), rng.random() * 2 * size)) for _ in range(n)]
        lo, hi = [min(1.0, low) for low, _ in pairs], [min(1.0, high) for _, high in pairs]
    return Case(scores, lo, hi)


def _cases(count: int, most: int, seed: int) -> list[Case]:
    rng = random.Random(seed)  # noqa: S311 - reproducible cases, no secrets
    return [_random_case(rng, most) for _ in range(count)]


def _by_bisection(case: Case) -> Sequence[float]:
    """Bisect on the logarithm of t; a score of zero is one that is smaller than all others by 200 magnitudes."""
    lo, hi = np.array(case.lo), np.array(case.hi)
    if lo.sum() > 1.0 + 1e-9:
        return list(lo / lo.sum())
    positive = [math.log(score) for score in case.scores if score > 0.0]
    vanishing = min(positive, default=0.0) - 200.0 * math.log(10.0)
    logs = np.array([math.log(score) if score > 0.0 else vanishing for score in case.scores])

    def weights(log_t: float) -> npt.NDArray[np.float64]:
        return np.clip(np.exp(np.minimum(log_t + logs, 1.0)), lo, hi)

    low, high = -800.0, 3000.0
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if weights(middle).sum() < 1.0 else (low, middle)
    return list(weights((low + high) / 2))


@pytest.mark.parametrize(("count", "most", "seed"), [(3000, 40, 1), (1000, 300, 2)])
def test_it_agrees_with_bisection(count: int, most: int, seed: int) -> None:
    """4,000 random cases of up to 300 agents agree with bisection to 1e-9, and stay inside their limits exactly."""
    for case in _cases(count, most, seed):
        projection = project(case.scores, case.lo, case.hi)
        expected = _by_bisection(case)
        assert max(abs(a - b) for a, b in zip(projection.weights, expected, strict=True)) < TO_BISECTION, case
        assert all(weight <= cap for weight, cap in zip(projection.weights, case.hi, strict=True)), case
        if projection.floor_scale == 1.0:
            assert all(weight >= floor for weight, floor in zip(projection.weights, case.lo, strict=True)), case


def test_the_random_cases_reach_every_kind_of_box() -> None:
    """Boxes that cannot be filled, floors that do not fit, and zero scores that are needed all occur often."""
    cases = _cases(3000, 40, 1)
    unfilled = sum(sum(case.hi) < 1.0 for case in cases)
    unfit = sum(sum(case.lo) > 1.0 + 1e-9 for case in cases)
    needed = sum(
        sum(case.lo) < 1.0 < sum(case.hi)
        and sum(cap if score > 0 else low for score, low, cap in zip(case.scores, case.lo, case.hi, strict=True)) < 1.0
        for case in cases
    )
    assert min(unfilled, unfit, needed) > 100, (unfilled, unfit, needed)


def _solvable_cases(count: int, most: int, seed: int) -> list[Case]:
    """Cases a general solver can state: positive scores within three magnitudes, and a box that holds a solution."""
    rng = random.Random(seed)  # noqa: S311 - reproducible cases, no secrets
    cases: list[Case] = []
    while len(cases) < count:
        n = rng.randint(2, most)
        scores = [10.0 ** rng.uniform(-3, 0) for _ in range(n)]
        pairs = [sorted((rng.random() * rng.choice((0.0, 1.0)) / n, rng.random() * 3 / n)) for _ in range(n)]
        case = Case(scores, [max(1e-3 / n, low) for low, _ in pairs], [max(2e-3 / n, high) for _, high in pairs])
        if sum(case.lo) < 0.99 and sum(case.hi) > 1.01:
            cases.append(case)
    return cases


def test_it_minimises_the_divergence_by_sequential_programming() -> None:
    """On 150 cases of up to 8 agents SciPy's SLSQP finds the same minimiser of sum(w * log(w / s))."""
    for case in _solvable_cases(150, 8, seed=3):
        s = np.array(case.scores) / sum(case.scores)
        found = minimize(
            lambda w, s: float(np.sum(w * np.log(w / s))),
            x0=np.array(case.lo) + (1 - sum(case.lo)) / (sum(case.hi) - sum(case.lo)) * (np.array(case.hi) - case.lo),
            args=(s,),
            jac=lambda w, s: np.log(w / s) + 1.0,
            bounds=list(zip(case.lo, case.hi, strict=True)),
            constraints={"type": "eq", "fun": lambda w: float(w.sum() - 1.0), "jac": np.ones_like},
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        )
        assert np.max(np.abs(found.x - project(case.scores, case.lo, case.hi).weights)) < TO_SOLVER, case


# Clarabel says so where it stops short of 1e-11; how accurate its answer is, the comparison itself shows.
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate:UserWarning")
def test_it_minimises_the_divergence_by_an_interior_point_method() -> None:
    """On 200 cases of up to 20 agents Clarabel, through CVXPY's kl_div, finds the same minimiser."""
    cp: Any = cvxpy  # half of its names are unknown to its own annotations
    for case in _solvable_cases(200, 20, seed=4):
        s = np.array(case.scores) / sum(case.scores)
        w = cp.Variable(len(s))
        problem = cp.Problem(
            cp.Minimize(cp.sum(cp.kl_div(w, s))), [cp.sum(w) == 1, w >= np.array(case.lo), w <= np.array(case.hi)]
        )
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        assert np.max(np.abs(w.value - project(case.scores, case.lo, case.hi).weights)) < TO_SOLVER, case


@pytest.mark.parametrize(
    ("scores", "limits", "expected"),
    [
        # 0.5 would exceed 0.40; what is left, 0.60, goes 3 to 2.
        pytest.param([0.5, 0.3, 0.2], (0.05, 0.40), [0.40, 0.36, 0.24], id="one at its cap"),
        # 0.9 and 0.02: cap first (0.40 | 0.60 in 8 to 2 is 0.48 to 0.12), then 0.48 is capped too.
        pytest.param([0.90, 0.08, 0.02], (0.05, 0.40), [0.40, 0.40, 0.20], id="two at their cap"),
        # 10:10:1 of 1 gives the last 0.0476, lifted to 0.05; the others share 0.95.
        pytest.param([0.5, 0.5, 0.05], (0.05, 0.60), [0.475, 0.475, 0.05], id="one at its floor"),
        pytest.param([0.9, 0.1], (0.05, 0.40), [0.40, 0.40], id="too few for their caps: the rest is reserve"),
        pytest.param([0.3, 0.0, 0.0], (0.05, 0.40), [0.40, 0.30, 0.30], id="zeros share what is left equally"),
        pytest.param([0.4, 0.4, 0.4, 0.0], (0.05, 0.40), [0.95 / 3] * 3 + [0.05], id="a zero that is not needed"),
        pytest.param([0.0, 0.0, 0.0, 0.0], (0.05, 0.40), [0.25] * 4, id="nobody scores"),
        pytest.param([5e-324, 1e-323, 0.0, 0.0], (0.0, 1.0), [1 / 3, 2 / 3, 0.0, 0.0], id="only ratios matter"),
    ],
)
def test_small_cases_by_hand(scores: list[float], limits: tuple[float, float], expected: list[float]) -> None:
    """What can be worked out on paper comes out."""
    lo, hi = ([limit] * len(scores) for limit in limits)
    assert project(scores, lo, hi).weights == pytest.approx(expected, abs=1e-15)


def test_floors_that_do_not_fit_are_scaled() -> None:
    """25 floors of 0.05 are 1.25: each becomes 0.04, whatever the scores, and the scale is 0.8."""
    projection = project([0.01 * i for i in range(25)], [0.05] * 25, [0.40] * 25)
    assert projection.floor_scale == pytest.approx(0.8, abs=1e-15)
    assert projection.weights == pytest.approx([0.04] * 25, abs=1e-15)


def test_floors_that_fit_exactly_are_not_scaled() -> None:
    """Twenty floors of 0.05 are all of 1, and a sum above that by less than 1e-9 is still 1: each gets its floor."""
    for floors in ([0.05] * 20, [0.25 + 1e-10] * 4):
        projection = project([0.1, *[0.5] * (len(floors) - 1)], floors, [0.40] * len(floors))
        assert projection.floor_scale == 1.0
        assert projection.weights == pytest.approx(floors, abs=1e-9, rel=0)
    assert project([0.5] * 4, [0.25 + 1e-9] * 4, [0.40] * 4).floor_scale < 1.0


def test_no_agents_no_weights() -> None:
    """An empty fleet has no weights."""
    assert project([], [], []).weights == []


BOXES = st.tuples(st.floats(0.0, 0.1), st.floats(0.1, 1.0))


@examples(500)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), BOXES)
def test_order_is_kept_under_equal_limits(scores: list[float], box: tuple[float, float]) -> None:
    """Under equal limits a higher score never gets a smaller weight, and equal scores get the same one."""
    weights = project(scores, [box[0]] * len(scores), [box[1]] * len(scores)).weights
    ranked = sorted(zip(scores, weights, strict=True))
    for (less, below), (more, above) in pairwise(ranked):
        assert below == above if less == more else below <= above


@examples(500)
@given(
    st.lists(st.floats(0.0, 1.0, allow_subnormal=False), min_size=1, max_size=30),
    BOXES,
    st.integers(-60, 0),
    st.floats(1e-6, 1e6),
)
def test_only_ratios_of_scores_matter(scores: list[float], box: tuple[float, float], power: int, factor: float) -> None:
    """Scores times a power of two give the same weights to the bit; times anything else, to 1e-12."""
    lo, hi = [box[0]] * len(scores), [box[1]] * len(scores)
    scores = [score if score > 1e-200 else 0.0 for score in scores]
    weights = project(scores, lo, hi).weights
    assert project([math.ldexp(score, power) for score in scores], lo, hi).weights == weights
    assert project([score * factor for score in scores], lo, hi).weights == pytest.approx(weights, abs=1e-12)


@examples(300)
@given(st.lists(st.tuples(st.floats(0.0, 1.0), BOXES), min_size=1, max_size=30), st.randoms())
def test_the_order_of_the_agents_changes_no_bit(
    agents: list[tuple[float, tuple[float, float]]], rng: random.Random
) -> None:
    """The same agents in another order get exactly the same weights."""

    def weights(order: Sequence[int]) -> list[float]:
        chosen = [agents[i] for i in order]
        return project([s for s, _ in chosen], [box[0] for _, box in chosen], [box[1] for _, box in chosen]).weights

    order = list(range(len(agents)))
    rng.shuffle(order)
    straight = weights(range(len(agents)))
    assert weights(order) == [straight[i] for i in order]


def test_a_step_goes_the_same_fraction_for_all() -> None:
    """The longest way is 0.20; a step of 0.05 is a quarter of it, for everyone."""
    weights, part = step([0.40, 0.30, 0.30], [0.20, 0.40, 0.40], [0.40] * 3, 0.05)
    assert weights == pytest.approx([0.35, 0.325, 0.325], abs=1e-15)
    assert part == pytest.approx(0.25, abs=1e-15)


def test_a_way_no_longer_than_the_step_is_gone_to_its_end() -> None:
    """What is within reach is reached exactly."""
    assert step([0.40, 0.30], [0.35, 0.35], [0.40] * 2, 0.0625) == ([0.35, 0.35], 1.0)


def test_a_cap_beats_the_step() -> None:
    """A cap that was lowered to 0.10 holds at once, though the step would only go to 0.35."""
    weights, _ = step([0.40, 0.40], [0.10, 0.40], [0.10, 0.40], 0.05)
    assert weights == [0.10, 0.40]


@examples(300)
@given(
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=20),
    st.floats(0.001, 1.0),
)
def test_no_weight_moves_further_than_the_step(ways: list[tuple[float, float]], max_step: float) -> None:
    """Where no cap interferes nobody moves further than the step, and nobody leaves its way."""
    old, new = [way[0] for way in ways], [way[1] for way in ways]
    weights, part = step(old, new, [1.0] * len(ways), max_step)
    assert 0.0 < part <= 1.0
    for before, after, end in zip(old, weights, new, strict=True):
        assert abs(after - before) <= max_step + 1e-12
        assert min(before, end) - 1e-12 <= after <= max(before, end) + 1e-12


def test_floors_over_one_by_what_floats_miss_deploy_no_more_than_one() -> None:
    """Four floors of a quarter and a ten-thousand-millionth are within the tolerance, and their weights add up to 1."""
    weights = project([1.0] * 4, [0.2500000001] * 4, [0.4] * 4).weights
    assert math.fsum(weights) <= 1.0
    assert weights == [0.25] * 4
