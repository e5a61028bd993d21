"""Scores and limits -> weights: the exact projection, with groups, and the limited step towards it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, inf
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
    if floors >= 1.0:
        # The sum may exceed 1 by float rounding; even that must not be deployed.
        scale = 1.0 / floors
        return Projection([floor * scale for floor in lo], scale if floors > 1.0 + FLOOR_TOLERANCE else 1.0)
    if fsum(hi) <= 1.0:
        return Projection(list(hi))
    weights = list(lo)
    if all(scores):
        _fill(scores, lo, hi, range(len(scores)), weights, 1.0)
        return Projection(weights)
    scored = [i for i, score in enumerate(scores) if score > 0.0]
    others = [i for i, score in enumerate(scores) if not score > 0.0]
    left = 1.0 - fsum([lo[i] for i in others])
    if fsum([hi[i] for i in scored]) >= left:
        _fill(scores, lo, hi, scored, weights, left)
    else:
        for i in scored:
            weights[i] = hi[i]
        left = 1.0 - fsum([hi[i] for i in scored])
        _fill([1.0] * len(scores), lo, hi, others, weights, left)
    return Projection(weights)


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

    Return ``w_i = clip(min(t, t_g) * s_i, lo_i, hi_i)``: with ``t_g`` the weights of group g add up to its cap, and the
    one ``t`` of all agents makes ``sum(w) = 1``. Among all weights inside the limits and the caps these have the
    smallest divergence. What caps leave is undeployed. Floors of a group that exceed its cap are scaled to it first.

    The problem in general is in Bretthauer, Shetty and Syam 2003, A specially structured nonlinear integer resource
    allocation problem, Naval Research Logistics 50(7). Here variable fixing decides about agents and groups at once.

    Args:
        scores: n scores.
        lo: n floors.
        hi: n caps.
        group: n positions in ``caps``; -1 for an agent without a group.
        caps: of the groups.
    """
    floors, crowded = lo, []
    if caps:
        # The last place, which is also that of -1, is for the agents without a group.
        members: list[list[int]] = [[] for _ in (*caps, inf)]
        for i, number in enumerate(group):
            members[number].append(i)
        floors = list(lo)
        for number, cap in enumerate(caps):
            total = fsum([lo[i] for i in members[number]])
            if total > cap:
                for i in members[number]:
                    floors[i] = lo[i] * (cap / total)
            if total > cap + FLOOR_TOLERANCE:
                crowded.append(number)
        if fsum(floors) < 1.0:
            weights = list(floors)
            # If all `hi` together are no more than 1, any budget above 1 gives each its `hi`, whatever the rounding.
            budget = 1.0 if fsum(hi) > 1.0 else 2.0
            _fill_groups(scores, floors, hi, list(zip(members, (*caps, inf), strict=True)), weights, budget)
            return GroupedProjection(weights, floors, crowded=tuple(crowded))
    whole = project(scores, floors, hi)
    if whole.floor_scale < 1.0:
        floors = [floor * whole.floor_scale for floor in floors]
    return GroupedProjection(whole.weights, floors, whole.floor_scale, tuple(crowded))


def _fill_groups(
    scores: Sequence[float],
    lo: Sequence[float],
    hi: Sequence[float],
    groups: Sequence[tuple[Sequence[int], float]],
    weights: list[float],
    budget: float,
) -> None:
    """Share ``budget``, or as much of it as the limits allow, among the members of groups, in place.

    Each round takes ``t = budget / sum(s)`` over all that are not decided, cuts weights above or below their limits to
    these, and groups above their cap to it. If this adds up to less than the budget, the final ``t`` is higher: agents
    above their ``hi`` get that, and groups above their cap share it out inside. If it adds up to more, the final ``t``
    is lower: agents below their ``lo`` get that, and groups within their cap stay within it. So each round decides
    about one agent or group at least.

    The caller ensures that the floors fit into the caps and into the budget.
    """
    free: list[int] = []  # the agents whose groups stay within their caps
    while groups:
        parts = [(free, inf), *groups]
        total = fsum([scores[i] for part, _ in parts for i in part])
        if total == 0.0:
            # All that have a score have what they can have; the others have been below their floors all along.
            scores, total = [1.0] * len(scores), float(sum([len(part) for part, _ in parts]))
        excess = lack = 0.0
        clipped = []
        for part, cap in parts:
            above, below, inside, more, less = _clip(scores, lo, hi, part, weights, budget, total)
            over = fsum([weights[i] for i in part]) - cap
            excess += more + max(0.0, over)
            lack += less
            clipped.append((above, below, inside, cap, over > 0.0))
        free, groups, spent = [], [], []
        for above, below, inside, cap, full in clipped:
            if full and excess >= lack:
                _fill(scores, lo, hi, [*inside, *above], weights, cap - fsum([lo[i] for i in below]))
                spent.append(cap)
                continue
            fixed, part = (above, [*inside, *below]) if excess > lack else (below, [*inside, *above])
            taken = [weights[i] for i in fixed]
            spent += taken
            if full or excess > lack:
                groups.append((part, cap - fsum(taken)))
            else:
                free += part
        if excess == lack:
            return
        budget = max(0.0, budget - fsum(spent))
    _fill(scores, lo, hi, free, weights, budget)


def _fill(
    scores: Sequence[float],
    lo: Sequence[float],
    hi: Sequence[float],
    free: Sequence[int],
    weights: list[float],
    budget: float,
) -> None:
    """Share ``budget`` among the agents of ``free`` in proportion to their scores, inside their limits, in place.

    The caller ensures ``sum(lo) <= budget`` over ``free``.
    """
    while free:
        total = fsum([scores[i] for i in free])
        above, below, inside, excess, lack = _clip(scores, lo, hi, free, weights, budget, total)
        if excess > lack:
            fixed, free = above, [*inside, *below]
        elif lack > excess:
            fixed, free = below, [*inside, *above]
        else:
            return
        budget = max(0.0, budget - fsum([weights[i] for i in fixed]))


def _clip(
    scores: Sequence[float],
    lo: Sequence[float],
    hi: Sequence[float],
    some: Sequence[int],
    weights: list[float],
    budget: float,
    total: float,
) -> tuple[list[int], list[int], list[int], float, float]:
    """Set the weights of some agents to ``clip(budget / total * s_i, lo_i, hi_i)``.

    Returns:
        Who was at or above ``hi``, who at or below ``lo``, all others; how much was cut in all, and how much added.
    """
    above, below, inside = [], [], []
    excess = lack = 0.0
    for i in some:
        # The ratio first, which is at most 1: budget / total might overflow with tiny scores.
        weight = scores[i] / total * budget
        if weight <= lo[i]:
            below.append(i)
            lack += lo[i] - weight
            weights[i] = lo[i]
        elif weight >= hi[i]:
            above.append(i)
            excess += weight - hi[i]
            weights[i] = hi[i]
        else:
            inside.append(i)
            weights[i] = weight
    return above, below, inside, excess, lack


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
