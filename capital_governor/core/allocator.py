"""Scores and limits -> weights: the exact projection, with groups, and the limited step towards it."""

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


def project(scores: Sequence[float], lo: Sequence[float], hi: Sequence[float], budget: float = 1.0) -> Projection:
    """Return ``w_i = clip(t * s_i, lo_i, hi_i)`` with the one ``t`` that makes ``sum(w) = budget``.

    Among all weights inside the limits these have the smallest Kullback-Leibler divergence ``sum(w * log(w / s))`` from
    the normalised scores. They are found exactly by variable fixing (Bitran and Hax 1981, Disaggregation and resource
    allocation using convex knapsack problems with bounded variables, Management Science 27(4)): scale the free scores,
    then fix at their limits those on the side that violates its limits by more. At most n rounds, few in practice.

    Agents with a score of 0 share equally, inside their limits, what is left once all others are at ``hi``. If
    ``sum(hi) < budget``, every agent gets ``hi``. If ``sum(lo) > budget``, the weights are the floors scaled by
    ``budget / sum(lo)``. Sums are exactly rounded, so the order of the agents does not matter.

    Args:
        scores: n scores, 0..1; only their ratios matter.
        lo: n floors, 0..1, each at most its ``hi``.
        hi: n caps, 0..1.
        budget: what is shared, 0..1.
    """
    floors = fsum(lo)
    if floors > budget + FLOOR_TOLERANCE:
        scale = budget / floors
        return Projection([floor * scale for floor in lo], scale)
    if floors >= budget:
        # The sum may exceed the budget by float rounding; even that must not be deployed.
        return Projection([floor * (budget / floors) if floors > 0.0 else 0.0 for floor in lo])
    if fsum(hi) <= budget:
        return Projection(list(hi))
    scored = [i for i, score in enumerate(scores) if score > 0.0]
    if len(scored) == len(scores):
        return Projection(_fill(scores, lo, hi, scored, list(lo), budget))
    others = [i for i, score in enumerate(scores) if not score > 0.0]
    weights = list(lo)
    left = budget - fsum([lo[i] for i in others])
    if fsum([hi[i] for i in scored]) >= left:
        return Projection(_fill(scores, lo, hi, scored, weights, left))
    for i in scored:
        weights[i] = hi[i]
    left = budget - fsum([hi[i] for i in scored])
    return Projection(_fill([1.0] * len(scores), lo, hi, others, weights, left))


@dataclass(frozen=True, slots=True)
class GroupedProjection:
    """Weights in the order of the scores.

    Args:
        weights: n weights.
        floors: the floors as they took part: scaled where they did not fit into their group, or all together.
        floor_scale: below 1 if the floors together did not fit.
        crowded: positions of the groups whose floors did not fit into their cap.
    """

    weights: list[float]
    floors: Sequence[float]
    floor_scale: float = 1.0
    crowded: tuple[int, ...] = ()


def project_groups(
    scores: Sequence[float],
    lo: Sequence[float],
    hi: Sequence[float],
    group: Sequence[int],
    caps: Sequence[float],
) -> GroupedProjection:
    """Project so that the weights of each group add up to at most its cap.

    Floors of a group that exceed its cap are scaled to it. Project all; fix every group above its cap at the cap,
    shared out inside by the same projection; project the others on what is left; repeat. A fixed group stays fixed,
    since what is left for the others only grows, so there is at most one round a group. What caps leave is undeployed.

    Args:
        scores: n scores.
        lo: n floors.
        hi: n caps.
        group: n positions in ``caps``; -1 for an agent without a group.
        caps: of the groups.
    """
    if not caps:
        whole = project(scores, lo, hi)
        floors = lo if whole.floor_scale == 1.0 else [floor * whole.floor_scale for floor in lo]
        return GroupedProjection(whole.weights, floors, whole.floor_scale)
    members: list[list[int]] = [[] for _ in caps]
    for i, number in enumerate(group):
        if number >= 0:
            members[number].append(i)
    floors, crowded = list(lo), []
    for number, inside in enumerate(members):
        total = fsum([lo[i] for i in inside])
        if total > caps[number] + FLOOR_TOLERANCE:
            crowded.append(number)
            for i in inside:
                floors[i] = lo[i] * (caps[number] / total)
    whole = project(scores, floors, hi)
    weights, free, left = list(whole.weights), list(range(len(scores))), 1.0
    open_groups = list(range(len(caps)))
    while above := [number for number in open_groups if fsum([weights[i] for i in members[number]]) > caps[number]]:
        open_groups = [number for number in open_groups if number not in above]
        for number in above:
            _put(weights, members[number], scores, floors, hi, caps[number])
        full = set(above)
        free = [i for i in free if group[i] not in full]
        left = max(0.0, left - fsum([caps[number] for number in above]))
        _put(weights, free, scores, floors, hi, left)
    floor_scale = whole.floor_scale
    if floor_scale < 1.0:
        floors = [floor * floor_scale for floor in floors]
    return GroupedProjection(weights, floors, floor_scale, tuple(crowded))


def _put(
    weights: list[float],
    some: Sequence[int],
    scores: Sequence[float],
    lo: Sequence[float],
    hi: Sequence[float],
    budget: float,
) -> None:
    """Project only the agents at these positions, on ``budget``, and put their weights in."""
    part = project([scores[i] for i in some], [lo[i] for i in some], [hi[i] for i in some], budget)
    for i, weight in zip(some, part.weights, strict=True):
        weights[i] = weight


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
