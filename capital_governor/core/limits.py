"""The limits on each agent's weight, from settings, probation and the operator's orders, each with its source."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from capital_governor.core.model import Agent, Limit, Rules, signed
from capital_governor.core.trace import AgentLimits, LimitSource, WeightLimit


def agent_limits(
    members: Collection[Agent],
    *,
    probation: Collection[Agent],
    pinned: Mapping[Agent, float],
    orders: Collection[Limit],
    now: float,
    rules: Rules,
) -> dict[Agent, AgentLimits]:
    """Return the limits of every member: ``hi`` is the smallest cap, ``lo`` the largest floor, but at most ``hi``.

    Args:
        members: all members.
        probation: members that may have at most MIN_ALLOC yet.
        pinned: weights at which members without metrics are held, if their caps allow it.
        orders: the operator's limits; expired ones are ignored.
        now: the time of the decision.
        rules: MIN_ALLOC and MAX_ALLOC.
    """
    floor = WeightLimit(rules.min_alloc, LimitSource.MIN_ALLOC)
    cap = WeightLimit(rules.max_alloc, LimitSource.MAX_ALLOC)
    common = _bind((floor,), (cap,))
    result = dict.fromkeys(members, common)
    floors: dict[Agent, list[WeightLimit]] = {}
    caps: dict[Agent, list[WeightLimit]] = {}
    for agent in probation:
        caps.setdefault(agent, []).append(WeightLimit(rules.min_alloc, LimitSource.PROBATION))
    for order in orders:
        if order.until is not None and now >= order.until:
            continue
        said = signed(order.author, order.until, order.reason)
        if order.cap is not None:
            caps.setdefault(order.agent, []).append(WeightLimit(order.cap, LimitSource.OPERATOR_CAP, said))
        if order.floor is not None:
            floors.setdefault(order.agent, []).append(WeightLimit(order.floor, LimitSource.OPERATOR_FLOOR, said))
    for agent, weight in pinned.items():
        pin = WeightLimit(weight, LimitSource.PINNED)
        floors.setdefault(agent, []).append(pin)
        caps.setdefault(agent, []).append(pin)
    for agent in floors.keys() | caps.keys():
        if agent in result:
            # MIN_ALLOC is no floor for a pinned agent: it would raise its weight without any metrics.
            base = () if agent in pinned else (floor,)
            result[agent] = _bind((*base, *floors.get(agent, ())), (cap, *caps.get(agent, ())))
    return result


def _bind(floors: tuple[WeightLimit, ...], caps: tuple[WeightLimit, ...]) -> AgentLimits:
    hi_by = min(caps, key=lambda limit: limit.value)
    lo_by = max(floors, key=lambda limit: limit.value)
    if lo_by.value > hi_by.value:
        lo_by = hi_by
    return AgentLimits(lo_by.value, hi_by.value, lo_by, hi_by, floors, caps)
