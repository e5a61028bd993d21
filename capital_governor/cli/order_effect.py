"""What an order does to published shares, in words for the answer of a command.

What is published is read from the primary file: faster than from the journal. If that file cannot be read, the effect
is unknown, and the order valid.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from capital_governor.cli.order_desk import Desk
from capital_governor.cli.place import published
from capital_governor.core.decision import resolve
from capital_governor.core.model import (
    EVERYBODY,
    WHOLE,
    Agent,
    Inputs,
    Ppm,
    Publication,
    Refusal,
    Rules,
    State,
    ppm,
)
from capital_governor.core.orders import Order, OrderKind, ceiling_of, hold_of, limits_of
from capital_governor.core.reason import Reason
from capital_governor.wording.amounts import change_text, percent_text

MOST_AGENTS: Final = 20
"""So many agents are listed, those that change most."""
UNPUBLISHED: Final = "nothing is published yet: it applies from the first allocation on"
NOTHING_CUT: Final = "no published share is above it: nothing is cut"
MOVE_TOO: Final = "a move in the same cycle may change shares as well, within all limits"


def cut_lines(desk: Desk) -> tuple[str, ...]:
    """Return what the next cycle cuts at least, by all orders in force: from published values alone, as in a hold.

    The order is stored already.
    """
    found, problem = published(desk.primary)
    if problem:
        return (f"what it cuts cannot be shown: {problem}",)
    if found is None:
        return (UNPUBLISHED,)
    # Without readable settings only the orders count.
    rules = Rules(min_alloc=0.0, max_alloc=1.0) if desk.rules is None else desk.rules
    orders = desk.journal.orders(desk.now)
    inputs = Inputs(
        now=desk.now,
        payload=Refusal(Reason.FETCH_FAILED, ""),
        limits=limits_of(orders),
        ceiling=ceiling_of(orders),
    )
    after = resolve(inputs, State(published=found), rules).proposal
    if after is None:
        return (NOTHING_CUT,)
    lines = []
    if after.exposure < found.exposure:
        lines.append(f"exposure {percent_text(found.exposure)} -> at most {percent_text(after.exposure)}")
    lines += _changes({agent: (share, after.shares[agent]) for agent, share in found.shares.items()})
    lines.append(f"reserve {change_text(found.reserve, after.reserve)}")
    held = desk.running and desk.last is not None and desk.last.hold is not None
    if not (held or desk.stopped or hold_of(orders)):
        lines.append(MOVE_TOO)
    return tuple(lines)


def limit_lines(desk: Desk, order: Order, replaced: Iterable[Order]) -> tuple[str, ...]:
    """Return what a limit does: what its cap cuts and where that goes, what it gives back, and what its floor raises.

    Args:
        desk: where the order is stored already.
        order: the limit.
        replaced: the limits that it replaces.
    """
    found, problem = published(desk.primary)
    if found is None:
        return (f"what it changes cannot be shown: {problem}" if problem else UNPUBLISHED,)
    lines: list[str] = []
    if order.cap is not None:
        lines += cut_lines(desk)
        planned_above = any(line > ppm(order.cap, found.exposure) for line in _lines_of(order, found))
        if order.share_out and planned_above:
            lines.append("what it takes goes to the others with the next move, and to the reserve until then")
        elif planned_above:
            lines.append("what it takes stays in the reserve until the limit ends")
    if order.floor is not None:
        lines += _floor_lines(found, order)
    given_back = loosening_lines(desk, replaced, order)
    if given_back:
        given_back += ("nothing rises before a cycle that decides, nor before COOLDOWN is over",)
    return (*lines, *given_back)


def loosening_lines(desk: Desk, ended: Iterable[Order], instead: Order | None = None) -> tuple[str, ...]:
    """Return what the end of limits gives back, or allows the next move to do.

    Args:
        desk: where the end is stored already.
        ended: the limits that ended.
        instead: the limit that replaces them, if any.
    """
    found, _ = published(desk.primary)
    over = tuple(order for order in ended if order.kind is OrderKind.LIMIT)
    if found is None:
        return ()
    gains = _gains(desk, found, over)
    lines = list(_changes(gains, "at most "))
    if lines:
        total = sum(new - old for old, new in gains.values())
        lines.append(f"reserve {percent_text(found.reserve)} -> at least {percent_text(found.reserve - total)}")
        if desk.rules is not None and desk.rules.max_step < 1.0:
            step = percent_text(desk.rules.max_step)
            lines.append(f"MAX_STEP: each cycle gives back at most {step} of what is deployed")
    cap = 1.0 if instead is None or instead.cap is None else instead.cap
    floor = 0.0 if instead is None or instead.floor is None else instead.floor
    if any(order.share_out and order.cap is not None and order.cap < cap and _at_cap(order, found) for order in over):
        lines.append("a share that the former cap kept low may rise with the next move")
    if any(order.floor is not None and order.floor > floor and _at_floor(order, found) for order in over):
        lines.append("a share that the former floor kept up may fall with the next move")
    return tuple(lines)


def _gains(desk: Desk, found: Publication, ended: Iterable[Order]) -> dict[Agent, tuple[Ppm, Ppm]]:
    """Return share and largest possible share of each agent from which ended caps withheld something."""
    freed = [order for order in ended if order.cap is not None and not order.share_out]
    limits = [order for order in desk.journal.orders(desk.now) if order.kind is OrderKind.LIMIT]
    max_alloc = 1.0 if desk.rules is None else desk.rules.max_alloc
    gains = {}
    for agent in found.withheld:
        caps = [order.cap for order in limits if order.cap is not None and order.agent in {agent, EVERYBODY}]
        allowed = min(found.plan[agent], ppm(min([max_alloc, *caps]), found.exposure))
        if allowed > found.shares[agent] and any(order.agent in {agent, EVERYBODY} for order in freed):
            gains[agent] = found.shares[agent], allowed
    return gains


def _at_cap(order: Order, found: Publication) -> bool:
    """Return whether a planned share is at the cap of a limit, give or take the rounding."""
    return any(line >= ppm(order.cap or 0.0, found.exposure) - 1 for line in _lines_of(order, found))


def _at_floor(order: Order, found: Publication) -> bool:
    """Return whether a planned share is at the floor of a limit, give or take the rounding."""
    return any(line <= ppm(order.floor or 0.0, found.exposure) + 1 for line in _lines_of(order, found))


def _lines_of(order: Order, found: Publication) -> list[Ppm]:
    return [line for agent, line in found.plan.items() if order.agent in {agent, EVERYBODY}]


def rise_lines(desk: Desk, ended: Iterable[Order]) -> tuple[str, ...]:
    """Return how far exposure may rise when the operator's ceiling has ended or was raised: only by a move."""
    found, _ = published(desk.primary)
    if found is None or not any(order.kind is OrderKind.EXPOSURE for order in ended):
        return ()
    ceiling, rules = ceiling_of(desk.journal.orders(desk.now)), desk.rules
    highest = 1.0 if ceiling is None else ceiling.value
    if desk.last is None or rules is None:
        return (f"exposure may rise from {percent_text(found.exposure)} with the next move; until then no share rises",)
    highest = min(highest, 1.0 - rules.min_reserve, *desk.last.multipliers.values())
    if highest <= found.exposure:
        allowed = f"market, drawdown and settings allow {percent_text(highest)}"
        return (f"published exposure is {percent_text(found.exposure)}, and {allowed}: nothing changes now",)
    rise = f"exposure {change_text(found.exposure, highest)} with the next move; until then no share rises"
    grows = sum(found.weights.values()) * highest - sum(found.plan.values()) / WHOLE
    least = min(rules.threshold, rules.turnover_threshold)
    if grows >= least:
        return (rise,)
    below = f"{percent_text(grows)} is below the threshold, {percent_text(least)}"
    return (rise, f"that rise alone causes no move: {below}")


def _floor_lines(found: Publication, order: Order) -> Iterable[str]:
    """Yield what a floor raises: lines of the plan, with the next move."""
    floor = ppm(order.floor or 0.0, found.exposure)
    plan = found.plan
    agents = plan if order.agent == EVERYBODY else [agent for agent in plan if agent == order.agent]
    low = {agent: (plan[agent], floor) for agent in agents if plan[agent] < floor}
    if low:
        yield "with the next move, as far as floors and caps of all agents allow:"
        yield from _changes(low, "at least ")
    elif agents:
        yield "no planned share is below that floor: nothing rises now"


def _changes(changes: dict[Agent, tuple[Ppm, Ppm]], least: str = "") -> Iterable[str]:
    """Yield the old and the new share of each agent of which it changes, the largest changes first."""
    changed = sorted(
        (agent for agent, (old, new) in changes.items() if old != new),
        key=lambda agent: (-abs(changes[agent][1] - changes[agent][0]), agent),
    )
    for agent in changed[:MOST_AGENTS]:
        old, new = changes[agent]
        change = f"{percent_text(old)} -> {least}{percent_text(new)}" if least else change_text(old, new)
        yield f"{agent} {change}"
    if len(changed) > MOST_AGENTS:
        yield f"and {len(changed) - MOST_AGENTS} more agents"
