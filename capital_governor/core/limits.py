"""Rules, membership and the operator's orders -> each agent's limits on its weight, each with its reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from capital_governor.core.model import Agent, Limit, Rules, signed
from capital_governor.core.trace import Bound, Bounds, LimitSource


def bounds(
    members: Collection[Agent],
    *,
    probation: Collection[Agent],
    pinned: Mapping[Agent, float],
    orders: Collection[Limit],
    now: float,
    rules: Rules,
) -> dict[Agent, Bounds]:
    """Return the limits of every member: ``hi`` the smallest cap, ``lo`` the largest floor but never above ``hi``.

    Args:
        members: whom to limit.
        probation: members that may have no more than MIN_ALLOC yet.
        pinned: weights at which members without any metrics are held, if their caps allow it.
        orders: the operator's limits; expired ones are ignored.
        now: the time of the decision.
        rules: MIN_ALLOC and MAX_ALLOC.
    """
    floor = Bound(rules.min_alloc, LimitSource.MIN_ALLOC)
    cap = Bound(rules.max_alloc, LimitSource.MAX_ALLOC)
    common = _bind((floor,), (cap,))
    result = dict.fromkeys(members, common)
    floors: dict[Agent, list[Bound]] = {}
    caps: dict[Agent, list[Bound]] = {}
    for agent in probation:
        caps.setdefault(agent, []).append(Bound(rules.min_alloc, LimitSource.PROBATION))
    for order in orders:
        if order.until is not None and now >= order.until:
            continue
        said = signed(order.author, order.until, order.reason)
        if order.cap is not None:
            caps.setdefault(order.agent, []).append(Bound(order.cap, LimitSource.OPERATOR_CAP, said))
        if order.floor is not None:
            floors.setdefault(order.agent, []).append(Bound(order.floor, LimitSource.OPERATOR_FLOOR, said))
    for agent, weight in pinned.items():
        pin = Bound(weight, LimitSource.PINNED)
        floors.setdefault(agent, []).append(pin)
        caps.setdefault(agent, []).append(pin)
    for agent in floors.keys() | caps.keys():
        if agent in result:
            # A pinned agent has no floor but its pin: MIN_ALLOC would lift it without a metric to justify that.
            base = () if agent in pinned else (floor,)
            result[agent] = _bind((*base, *floors.get(agent, ())), (cap, *caps.get(agent, ())))
    return result


def _bind(floors: tuple[Bound, ...], caps: tuple[Bound, ...]) -> Bounds:
    hi_by = min(caps, key=lambda bound: bound.value)
    lo_by = max(floors, key=lambda bound: bound.value)
    if lo_by.value > hi_by.value:
        lo_by = hi_by
    return Bounds(lo_by.value, hi_by.value, lo_by, hi_by, floors, caps)
