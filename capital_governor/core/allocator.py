"""Scores and limits -> weights: the exact projection, and the limited step towards it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Final

FLOOR_TOLERANCE: Final = 1e-9
"""The sum of all floors may exceed 1 by this much and counts as 1: in floats, 20 x 0.05 is not exactly 1."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Weights in the order of the scores; ``floor_scale`` is below 1 if the floors together did not fit."""

    weights: list[float]
    floor_scale: float = 1.0


def project(scores: Sequence[float], lo: Sequence[float], hi: Sequence[float]) -> Projection:
    """Return ``w_i = clip(t * s_i, lo_i, hi_i)`` with the one ``t`` that makes ``sum(w) = 1``.

    Among all weights inside the limits these have the smallest Kullback-Leibler divergence ``sum(w * log(w / s))`` from
    the normalised scores. They are found exactly by variable fixing (Bitran and Hax 1981, Disaggregation and resource
    allocation using convex knapsack problems with bounded variables, Management Science 27(4)): scale the free scores,
    then fix at their limits those on the side that violates its limits by more. At most n rounds, few in practice.

    Agents with a score of 0 share equally, inside their limits, what is left once all others are at ``hi``. If
    ``sum(hi) < 1``, every agent gets ``hi``. If ``sum(lo) > 1``, the weights are the floors scaled by ``1 / sum(lo)``.
    Sums are exactly rounded, so the order of the agents does not matter.

    Args:
        scores: n scores, 0..1; only their ratios matter.
        lo: n floors, 0..1, each at most its ``hi``.
        hi: n caps, 0..1.
    """
    floors = fsum(lo)
    if floors > 1.0 + FLOOR_TOLERANCE:
        scale = 1.0 / floors
        return Projection([floor * scale for floor in lo], scale)
    if floors >= 1.0:
        # The sum may exceed 1 by float rounding; even that must not be deployed.
        return Projection([floor / floors for floor in lo])
    if fsum(hi) <= 1.0:
        return Projection(list(hi))
    scored = [i for i, score in enumerate(scores) if score > 0.0]
    if len(scored) == len(scores):
        return Projection(_fill(scores, lo, hi, scored, list(lo), 1.0))
    others = [i for i, score in enumerate(scores) if not score > 0.0]
    weights = list(lo)
    left = 1.0 - fsum([lo[i] for i in others])
    if fsum([hi[i] for i in scored]) >= left:
        return Projection(_fill(scores, lo, hi, scored, weights, left))
    for i in scored:
        weights[i] = hi[i]
    left = 1.0 - fsum([hi[i] for i in scored])
    return Projection(_fill([1.0] * len(scores), lo, hi, others, weights, left))


def _fill(
    scores: Sequence[float],
    lo: Sequence[float],
    hi: Sequence[float],
    free: list[int],
    weights: list[float],
    budget: float,
) -> list[float]:
    """Share ``budget`` among the agents of ``free`` in proportion to their scores, inside their limits, in place.

    The caller ensures ``sum(lo) <= budget <= sum(hi)`` over ``free``.
    """
    while free:
        total = fsum([scores[i] for i in free])
        above, below, inside = [], [], []
        excess = lack = 0.0
        for i in free:
            # The ratio first, which is at most 1: budget / total might overflow with tiny scores.
            weight = scores[i] / total * budget
            if weight >= hi[i]:
                above.append(i)
                excess += weight - hi[i]
            elif weight <= lo[i]:
                below.append(i)
                lack += lo[i] - weight
            else:
                inside.append(i)
                weights[i] = weight
        if excess > lack:
            fixed, limit, free = above, hi, [*inside, *below]
        elif lack > excess:
            fixed, limit, free = below, lo, [*inside, *above]
        else:
            for i in above:
                weights[i] = hi[i]
            for i in below:
                weights[i] = lo[i]
            return weights
        for i in fixed:
            weights[i] = limit[i]
        budget = max(0.0, budget - fsum([limit[i] for i in fixed]))
    return weights


def step(
    published: Sequence[float], projected: Sequence[float], hi: Sequence[float], max_step: float
) -> tuple[list[float], float]:
    """Go from the published towards the projected weights, all the same fraction of the way.

    Args:
        published: n weights, 0 for an agent that has none.
        projected: n weights.
        hi: n caps; a weight above its cap goes to the cap at once.
        max_step: the most that any weight may change, above 0; 1 or more: no limit.

    Returns:
        n weights, and the fraction of the way, 0..1.
    """
    if max_step >= 1.0:
        return list(projected), 1.0
    furthest = max((abs(new - old) for old, new in zip(published, projected, strict=True)), default=0.0)
    if furthest <= max_step:
        return list(projected), 1.0
    part = max_step / furthest
    return [min(cap, old + part * (new - old)) for old, new, cap in zip(published, projected, hi, strict=True)], part
