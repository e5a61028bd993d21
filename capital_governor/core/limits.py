"""The limits on each agent's weight, from settings, probation and the operator's orders, each with its source."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from capital_governor.core.model import EVERYBODY, Agent, Limit, Rules, signed
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

    An operator's cap takes part only if it is to be shared out; see ``withholding_caps`` for the others.

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
    floors: dict[Agent, list[WeightLimit]] = {}
    caps: dict[Agent, list[WeightLimit]] = {}
    for agent in probation:
        caps.setdefault(agent, []).append(WeightLimit(rules.min_alloc, LimitSource.PROBATION))
    for order in orders:
        if not order.in_force(now):
            continue
        said = signed(order.author, order.until, order.reason)
        if order.cap is not None and order.share_out:
            caps.setdefault(order.agent, []).append(WeightLimit(order.cap, LimitSource.OPERATOR_CAP, said))
        if order.floor is not None:
            floors.setdefault(order.agent, []).append(WeightLimit(order.floor, LimitSource.OPERATOR_FLOOR, said))
    for agent, weight in pinned.items():
        pin = WeightLimit(weight, LimitSource.PINNED)
        floors.setdefault(agent, []).append(pin)
        caps.setdefault(agent, []).append(pin)
    common_floors, common_caps = floors.pop(EVERYBODY, []), caps.pop(EVERYBODY, [])
    result = dict.fromkeys(members, _bind((floor, *common_floors), (cap, *common_caps)))
    for agent in floors.keys() | caps.keys():
        if agent in result:
            # MIN_ALLOC is no floor for a pinned agent: it would raise its weight without any metrics.
            base = common_floors if agent in pinned else (floor, *common_floors)
            result[agent] = _bind((*base, *floors.get(agent, ())), (cap, *common_caps, *caps.get(agent, ())))
    return result


def withholding_caps(agents: Collection[Agent], orders: Collection[Limit], now: float) -> dict[Agent, WeightLimit]:
    """Return the operator's cap of each agent that has one which is not to be shared out: the smallest."""
    return _smallest_caps(agents, [order for order in orders if not order.share_out], now)


def shared_caps(agents: Collection[Agent], orders: Collection[Limit], now: float, rules: Rules) -> dict[Agent, float]:
    """Return the most that each agent's weight may be in a hold: MAX_ALLOC, and operator's caps to be shared out."""
    caps = _smallest_caps(agents, [order for order in orders if order.share_out], now)
    return {agent: min(rules.max_alloc, caps[agent].value) if agent in caps else rules.max_alloc for agent in agents}


def _smallest_caps(agents: Collection[Agent], orders: Collection[Limit], now: float) -> dict[Agent, WeightLimit]:
    found: dict[Agent, WeightLimit] = {}
    for order in orders:
        if order.cap is None or not order.in_force(now):
            continue
        cap = WeightLimit(order.cap, LimitSource.OPERATOR_CAP, signed(order.author, order.until, order.reason))
        for agent in agents if order.agent == EVERYBODY else (order.agent,):
            if agent not in found or cap.value < found[agent].value:
                found[agent] = cap
    return found


def _bind(floors: tuple[WeightLimit, ...], caps: tuple[WeightLimit, ...]) -> AgentLimits:
    hi_by = min(caps, key=lambda limit: limit.value)
    lo_by = max(floors, key=lambda limit: limit.value)
    if lo_by.value > hi_by.value:
        lo_by = hi_by
    return AgentLimits(lo_by.value, hi_by.value, lo_by, hi_by, floors, caps)
