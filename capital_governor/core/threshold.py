"""Whether a proposal differs enough from the published plan to move, and the brakes on moves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

from capital_governor.core.groups import group_indices
from capital_governor.core.model import DAY_SECONDS, RESERVE, WHOLE, Agent, Group, Memory, Ppm, Rules, State, ppm
from capital_governor.core.reason import Reason
from capital_governor.core.trace import AgentLimits, Brake, Trigger
from capital_governor.core.withholding import Plan, scaled


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is compared with the published plan.

    Args:
        lines: plan lines from the projected weights, before MAX_STEP.
        exposure: the new exposure.
        limits: of every member.
        floors: of every member, in the order of ``limits``, scaled where they did not fit.
        pinned: members that are held at their weight in an adopted file.
    """

    lines: Mapping[Agent, Ppm]
    exposure: float
    limits: Mapping[Agent, AgentLimits]
    floors: Sequence[float]
    pinned: Collection[Agent]


def compare(
    proposal: Proposal, published: Plan | None, agents: Mapping[Agent, Memory], now: float, rules: Rules
) -> tuple[Trigger, ...]:
    """Return all triggers of a move, the most urgent first."""
    if published is None:
        return (Trigger(Reason.FIRST_ALLOCATION, True, WHOLE, WHOLE),)  # noqa: FBT003 - its field is named fired
    before = list(map(published.lines.get, proposal.limits, repeat(0)))
    left = [agent for agent in published.lines if agent not in proposal.limits]
    return (
        _breach(proposal.limits, before, published, rules.groups),
        Trigger(Reason.EXPOSURE_ZERO, proposal.exposure == 0.0 < published.exposure, ppm(1.0, proposal.exposure), 0),
        Trigger(Reason.MEMBER_LEFT, bool(left), len(left), 1, left[0] if left else ""),
        _joined(proposal, published, agents, now),
        _below_floor(proposal, published, before),
        *_changes(proposal.lines, before, {agent: published.lines[agent] for agent in left}, rules),
    )


def _breach(
    limits: Mapping[Agent, AgentLimits], before: Sequence[Ppm], published: Plan, groups: Sequence[Group]
) -> Trigger:
    """Trigger if a published line is above its cap times the published exposure, or a group; it names the worst.

    Args:
        limits: of every member.
        before: their published lines, 0 for a member that has none.
        published: the plan.
        groups: with caps on the sum of weights.
    """
    worst, over, allowed = "", 0, 0
    hi = [limit.hi for limit in limits.values()]
    caps = {cap: ppm(cap, published.exposure) for cap in set(hi)}
    some_above = max(before, default=0) > min(caps.values(), default=WHOLE)
    for agent, cap, line in zip(limits, hi, before, strict=True) if some_above else ():
        if line - caps[cap] > over:
            worst, over, allowed = agent, line - caps[cap], caps[cap]
    sums = [0] * len(groups)
    numbers = zip(group_indices(published.lines, groups), published.lines.values(), strict=True) if groups else ()
    for number, line in numbers:
        if number >= 0:
            sums[number] += line
    for group, total in zip(groups, sums, strict=True):
        room = ppm(group.cap, published.exposure)
        if total - room > over:
            worst, over, allowed = f"group {group.name}", total - room, room
    return Trigger(Reason.LIMIT_BREACHED, over > 0, allowed + over, allowed, worst)


def _joined(proposal: Proposal, published: Plan, agents: Mapping[Agent, Memory], now: float) -> Trigger:
    """Trigger if a member has no line yet; ``value`` counts them.

    A member that was retired less than a day ago does not count, so that an agent that comes and goes does not move the
    fleet each time.
    """
    without = {agent: agents[agent].retired_at for agent in proposal.limits if agent not in published.lines}
    joined = [agent for agent, left in without.items() if left is None or now - left >= DAY_SECONDS]
    return Trigger(Reason.MEMBER_JOINED, bool(joined), len(joined), 1, joined[0] if joined else "")


def _below_floor(proposal: Proposal, published: Plan, before: Sequence[Ppm]) -> Trigger:
    """Trigger if the proposal would raise a line that is below its floor; it names the lowest.

    The floor is multiplied by the smaller of old and new exposure, so that neither a lower exposure after a cut nor a
    higher one alone counts as a line below its floor. Pinned members are exempt.
    """
    worst, lack, floor = "", 0, 0
    exposure = min(published.exposure, proposal.exposure)
    floors = {low: ppm(low, exposure) for low in set(proposal.floors)}
    some_below = min(before, default=0) < max(floors.values(), default=0)
    for agent, low, line in zip(proposal.limits, proposal.floors, before, strict=True) if some_below else ():
        if (
            floors[low] - line > lack
            and agent in published.lines
            and agent not in proposal.pinned
            and proposal.lines[agent] > line
        ):
            worst, lack, floor = agent, floors[low] - line, floors[low]
    return Trigger(Reason.BELOW_FLOOR, lack > 0, floor - lack, floor, worst)


def _changes(
    new: Mapping[Agent, Ppm], before: Sequence[Ppm], left: Mapping[Agent, Ppm], rules: Rules
) -> tuple[Trigger, Trigger, Trigger]:
    """Return the triggers for the largest change of a line, the growth of the reserve, and the turnover.

    The reserve is one less the plan: what is withheld plays no part.

    Args:
        new: the proposed lines.
        before: the published lines of the same agents, 0 for one that has none.
        left: the published lines of all others.
        rules: the thresholds.
    """
    changes = [abs(line - old) for line, old in zip(new.values(), before, strict=True)] + list(left.values())
    growth = sum(before) + sum(left.values()) - sum(new.values())
    largest = max(changes, default=0)
    changed = zip((*new, *left), changes, strict=True)
    line = min([agent for agent, change in changed if change == largest]) if largest else ""
    if abs(growth) > largest:
        largest, line = abs(growth), RESERVE
    moved = sum(changes) + abs(growth)
    single, derisk, turnover = (
        max(1, round(limit * WHOLE)) for limit in (rules.threshold, rules.derisk_threshold, rules.turnover_threshold)
    )
    return (
        Trigger(Reason.THRESHOLD, largest >= single, largest, single, line),
        Trigger(Reason.DERISK, growth >= derisk, growth, derisk, RESERVE),
        Trigger(Reason.TURNOVER, moved >= 2 * turnover, moved // 2, turnover),
    )


def brakes(state: State, now: float, rules: Rules) -> tuple[Brake, Brake]:
    """Return both brakes for the case that this cycle asks for a move."""
    asked = state.asked + 1
    # If the clock was set back since the last move, the move counts as made now: the wait is at most one cool-down.
    since = None if state.moved_at is None else max(0.0, now - state.moved_at)
    cooling = rules.cooldown_seconds > 0 and since is not None and since < rules.cooldown_seconds
    return (
        Brake(Reason.COOLDOWN, cooling, rules.cooldown_seconds if since is None else since, rules.cooldown_seconds),
        Brake(Reason.CONFIRMING, asked < rules.confirm_cycles, asked, rules.confirm_cycles),
    )


def lowered(plan: Plan, exposure: float, rules: Rules) -> tuple[Plan, Reason | None]:
    """Return the published plan at a lower exposure that a brake or a hold for agents does not delay, and why.

    Exposure falls to ``exposure`` if that frees DERISK_THRESHOLD of the plan, or reaches 0; else the plan stays.
    """
    if not exposure < plan.exposure:
        return plan, None
    fallen = scaled(plan, exposure)
    if exposure == 0.0:
        return fallen, Reason.CUT_EXPOSURE_ZERO
    freed = sum(plan.lines.values()) - sum(fallen.lines.values())
    return (fallen, Reason.CUT_DERISK) if freed >= max(1, round(rules.derisk_threshold * WHOLE)) else (plan, None)
