"""What is withheld from the plan: ``share = plan line - withheld``. What it takes goes to the reserve, to nobody else.

The plan knows nothing of silence, faults and an operator's caps, so that none of them gives capital to another agent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from capital_governor.core.groups import group_indices
from capital_governor.core.model import WHOLE, Agent, Group, Memory, Ppm, Publication, ppm
from capital_governor.core.trace import WeightLimit, WithheldBy, Withholding


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan, and the shares before anything more is withheld from it.

    Args:
        lines: what scores and limits give each agent.
        exposure: of the plan.
        weights: of the plan.
        scores: of the plan.
        floor_scale: below 1 if the floors together did not fit.
        before: the published shares, scaled to ``exposure_before``.
        exposure_before: the exposure of ``before``.
    """

    lines: Mapping[Agent, Ppm]
    exposure: float
    weights: Mapping[Agent, float]
    scores: Mapping[Agent, float]
    floor_scale: float
    before: Mapping[Agent, Ppm]
    exposure_before: float


def plan_of(published: Publication) -> Plan:
    """Return the published plan."""
    return Plan(
        lines=published.plan,
        exposure=published.exposure,
        weights=published.weights,
        scores=published.scores,
        floor_scale=published.floor_scale,
        before=published.shares,
        exposure_before=published.exposure,
    )


def scaled(plan: Plan, exposure: float) -> Plan:
    """Return a published plan and its shares at a lower exposure; the weights stay."""
    ratio = exposure / plan.exposure if plan.exposure > 0.0 else 0.0
    crumb = 1e-6
    lines = {agent: int(line * ratio + crumb) for agent, line in plan.lines.items()}
    if sum(lines.values()) > ppm(1.0, exposure):
        # In a large fleet the added 1e-6 can sum up to a millionth more than exposure allows.
        crumb = 0.0
        lines = {agent: int(line * ratio) for agent, line in plan.lines.items()}
    before = {agent: int(share * ratio + crumb) for agent, share in plan.before.items()}
    return replace(plan, lines=lines, exposure=exposure, before=before, exposure_before=exposure)


def within_limits(
    lines: Mapping[Agent, Ppm], exposure: float, caps: Mapping[Agent, float], groups: Sequence[Group]
) -> Mapping[Agent, Ppm]:
    """Return the most of each line that its cap allows, and then its group's: all lines of a group times cap/sum.

    Where that is all of every line, the result is ``lines`` itself.

    Args:
        lines: in millionths of all capital.
        exposure: 0..1.
        caps: on weights, by agent; an agent without one is not limited.
        groups: with caps on the sum of weights.
    """
    limits = {cap: ppm(cap, exposure) for cap in set(caps.values())}
    most = lines
    if max(lines.values(), default=0) > min(limits.values(), default=WHOLE):
        most = {agent: min(line, limits[caps[agent]]) if agent in caps else line for agent, line in lines.items()}
    if not groups:
        return most
    group = group_indices(most, groups)
    sums = [0] * len(groups)
    for number, line in zip(group, most.values(), strict=True):
        if number >= 0:
            sums[number] += line
    allowed = [ppm(each.cap, exposure) for each in groups]
    over = {number for number, total in enumerate(sums) if total > allowed[number]}
    if not over:
        return most
    return {
        agent: line * allowed[number] // sums[number] if number in over else line
        for number, (agent, line) in zip(group, most.items(), strict=True)
    }


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides what is withheld, besides the plan.

    Args:
        caps: the upper limit of each member's weight; an agent without one is no member.
        groups: the groups.
        lapsed: members that have lapsed.
        unwell: members with a faulty record or none.
        withholding: the operator's caps that are not shared out.
        max_step: the setting.
    """

    caps: Mapping[Agent, float]
    groups: Sequence[Group]
    lapsed: Collection[Agent]
    unwell: Collection[Agent]
    withholding: Mapping[Agent, WeightLimit]
    max_step: float


def withhold(plan: Plan, facts: Facts, published: Plan | None) -> dict[Agent, Withholding]:
    """Return what is to be withheld from each line from which something is.

    Args:
        plan: the plan that is or will be published.
        facts: of this cycle.
        published: the published plan, scaled to the ceilings; None before the first allocation.
    """
    most = within_limits(plan.lines, plan.exposure, facts.caps, facts.groups)
    held_back = set[Agent]()
    if published is not None and facts.max_step < 1.0:
        held_back = {agent for agent, line in published.lines.items() if line > published.before.get(agent, 0)}
    concerned = held_back.union(facts.lapsed, facts.unwell, facts.withholding, plan.lines.keys() - facts.caps.keys())
    if most is not plan.lines:
        concerned |= {agent for agent, line in plan.lines.items() if most[agent] < line}
    found: dict[Agent, Withholding] = {}
    for agent, line in plan.lines.items() if concerned else ():
        if agent not in concerned:
            continue
        bounds = [] if most[agent] == line else [_limited(agent, line, most[agent], plan.exposure, facts)]
        bounds += _absence(agent, plan, facts)
        if agent in facts.withholding:
            cap = facts.withholding[agent]
            bounds.append((ppm(cap.value, plan.exposure), WithheldBy.CAP, cap.detail))
        if agent in held_back:
            before = plan.before.get(agent, 0) / WHOLE / plan.exposure_before if plan.exposure_before > 0.0 else 0.0
            bounds.append((ppm(before + facts.max_step, plan.exposure), WithheldBy.STEP, ""))
        if bounds:
            allowed, by, detail = min(bounds, key=lambda bound: bound[0])
            if allowed < line:
                found[agent] = Withholding(line - allowed, by, detail)
    return found


def withheld_in_hold(
    plan: Plan,
    shares: Mapping[Agent, Ppm],
    within: Mapping[Agent, Ppm],
    caps: Mapping[Agent, float],
    withholding: Mapping[Agent, WeightLimit],
    agents: Mapping[Agent, Memory],
) -> dict[Agent, Withholding]:
    """Return what is withheld from each line after a cut in a hold.

    In a hold only limits, groups and caps are applied, and what was withheld before stays so.

    Args:
        plan: the published plan, lowered.
        shares: what the cut publishes.
        within: the most of each line that its limit and its group's cap allow.
        caps: the limits on weights that ``within`` keeps to.
        withholding: the operator's caps that are not shared out.
        agents: the memory of all agents.
    """
    found: dict[Agent, Withholding] = {}
    for agent, line in plan.lines.items():
        share, memory, cap = shares[agent], agents.get(agent), withholding.get(agent)
        if share == line:
            continue
        by, detail = WithheldBy.BEFORE, ""
        if share == within[agent]:
            own = min(line, ppm(caps[agent], plan.exposure))
            by = WithheldBy.LIMIT if own == share else WithheldBy.GROUP
        elif share == 0 and (memory is None or not memory.member):
            by = WithheldBy.NO_MEMBER
        elif share == 0 and memory is not None and memory.lapsed:
            by = WithheldBy.LAPSED
        elif cap is not None and share == ppm(cap.value, plan.exposure):
            by, detail = WithheldBy.CAP, cap.detail
        found[agent] = Withholding(line - share, by, detail)
    return found


_Bound: TypeAlias = tuple[Ppm, WithheldBy, str]
"""The most that an agent may have of its plan line, why, and who ordered that."""


def _limited(agent: Agent, line: Ppm, allowed: Ppm, exposure: float, facts: Facts) -> _Bound:
    own = min(line, ppm(facts.caps[agent], exposure)) if agent in facts.caps else line
    return allowed, WithheldBy.LIMIT if own == allowed else WithheldBy.GROUP, ""


def _absence(agent: Agent, plan: Plan, facts: Facts) -> list[_Bound]:
    if agent not in facts.caps:
        return [(0, WithheldBy.NO_MEMBER, "")]
    if agent in facts.lapsed:
        return [(0, WithheldBy.LAPSED, "")]
    return [(plan.before.get(agent, 0), WithheldBy.UNWELL, "")] if agent in facts.unwell else []
