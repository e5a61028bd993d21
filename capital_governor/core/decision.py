"""The decision: ``decide`` makes it, ``commit`` turns it into the next state. All shares come from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Final

from capital_governor.core import allocator, limits, scorer, threshold
from capital_governor.core.exposure import Exposure, ceilings, expose
from capital_governor.core.gate import gate
from capital_governor.core.groups import group_indices
from capital_governor.core.hold import Verdict, judge
from capital_governor.core.membership import Attendance, Enrolment, enrol
from capital_governor.core.model import WHOLE, Agent, Inputs, Ppm, Publication, Refusal, Rules, Snapshot, State, ppm
from capital_governor.core.publication import decision_id, integer_shares
from capital_governor.core.reason import MOVES, Reason
from capital_governor.core.trace import (
    AgentLimits,
    Brake,
    Decision,
    Hold,
    Multiplier,
    Trace,
    Trigger,
    WithheldBy,
    Withholding,
)
from capital_governor.core.withholding import Facts, Plan, plan_of, scaled, withheld_in_hold, withhold, within_limits

_BRAKES: Final = frozenset({Reason.COOLDOWN, Reason.CONFIRMING})


def decide(inputs: Inputs, state: State, rules: Rules) -> Decision:
    """Make one decision: hold, stay, cut, restore or move.

    Pure: the same arguments give the same result, to the byte. Raises nothing for inputs that the types allow.

    Args:
        inputs: what is known now.
        state: what was kept from the previous cycle.
        rules: the settings that decisions depend on.
    """
    verdict = judge(inputs, state, rules)
    state = replace(
        state,
        latches=verdict.latches,
        generation=max(state.generation, inputs.known_generation),
        # If the clock was set back since the last move, the move counts as made now.
        moved_at=None if state.moved_at is None else min(state.moved_at, inputs.now),
    )
    above = ceilings(inputs, rules)
    if verdict.attendance is None or isinstance(inputs.payload, Refusal):
        return _hold(inputs, state, rules, verdict, above, None)
    exposure = expose(inputs.payload, state.multipliers, inputs.now, above, rules)
    state = replace(state, multipliers=exposure.known)
    if verdict.hold is not None:
        return _hold(inputs, state, rules, verdict, above, exposure)
    return _allocate(_Case(inputs, inputs.payload, state, rules, verdict, verdict.attendance, exposure, above))


def commit(decision: Decision) -> State:
    """Return the state after a decision that ``gate`` has passed."""
    if decision.proposal is None:
        return decision.after
    return replace(decision.after, published=decision.proposal, generation=decision.proposal.generation)


def score_of(agent: Agent, decision: Decision, rules: Rules) -> scorer.Score | None:
    """Return an agent's score in a decision with its parts; None if it was not scored."""
    metrics = decision.after.metrics.get(agent)
    return None if metrics is None or agent not in decision.trace.scores else scorer.score(metrics, rules)


def refuse(decision: Decision, state: State, reason: Reason) -> Decision:
    """Return a decision that the gate refused as one that publishes nothing; it still counts as asking for a move.

    Args:
        decision: what was decided.
        state: the state before.
        reason: why the gate refused it.
    """
    asked = state.asked + 1 if decision.trace.hold is None else state.asked
    after = replace(decision.after, asked=asked, moved_at=state.moved_at)
    return replace(decision, reason=reason, proposal=None, after=after)


def resolve(inputs: Inputs, state: State, rules: Rules) -> Decision:
    """Decide and apply the gate: reproduces a recorded decision."""
    decision = decide(inputs, state, rules)
    refusal = gate(decision, inputs, state, rules)
    return decision if refusal is None else refuse(decision, state, refusal)


@dataclass(frozen=True, slots=True)
class _Case:
    """The facts of a decided cycle; ``state`` already has the new latches and multipliers."""

    inputs: Inputs
    snapshot: Snapshot
    state: State
    rules: Rules
    verdict: Verdict
    attendance: Attendance
    exposure: Exposure
    above: tuple[Multiplier, ...]


def _hold(
    inputs: Inputs,
    state: State,
    rules: Rules,
    verdict: Verdict,
    above: tuple[Multiplier, ...],
    exposure: Exposure | None,
) -> Decision:
    """Hold, but publish what a person has tightened, from published values alone; nothing is loosened.

    Only a STOP file and files that cannot be written keep that back.

    Args:
        inputs: of the cycle.
        state: with new latches and multipliers.
        rules: of the cycle.
        verdict: has the hold.
        above: the ceilings on exposure.
        exposure: in a hold for agents, where guardian and regime are known: exposure may then fall to this.
    """
    hold = verdict.hold or Hold(Reason.INTERNAL_ERROR, "neither the members nor a hold could be determined")
    trace = Trace(hold=hold, unusable=verdict.unusable, accepted=verdict.accepted)
    snapshot, attendance = inputs.payload, verdict.attendance
    if exposure is not None and attendance is not None and isinstance(snapshot, Snapshot):
        trace = replace(
            trace,
            faulty=attendance.faulty,
            absent={agent: state.agents[agent].absent for agent in attendance.absent},
            lapsed=attendance.lapsed,
            multipliers=exposure.multipliers,
            exposure=exposure.value,
            exposure_by=exposure.by,
            warnings=_warnings(snapshot, exposure),
        )
    published = state.published
    if published is None or inputs.stopped or inputs.files_problem:
        return Decision(hold.reason, None, state, trace)
    plan, reason = _under_ceilings(plan_of(published), above)
    if exposure is not None:
        plan, fell = threshold.lowered(plan, exposure.value, rules)
        reason = reason or fell
    shared = limits.shared_caps(plan.lines, inputs.limits, inputs.now, rules)
    within = within_limits(plan.lines, plan.exposure, shared, rules.groups)
    caps = limits.withholding_caps(plan.lines, inputs.limits, inputs.now)
    most = dict(within)
    for agent in caps.keys() & most.keys():
        most[agent] = min(most[agent], ppm(caps[agent].value, plan.exposure))
    shares = {agent: min(share, most[agent]) for agent, share in plan.before.items()}
    if shares == published.shares and plan.exposure == published.exposure:
        return Decision(hold.reason, None, state, trace)
    trace = replace(trace, withheld=withheld_in_hold(plan, shares, within, shared, caps, state.agents))
    if reason is Reason.CUT_CEILING and exposure is None:
        lowest = min(above, key=lambda ceiling: ceiling.value)
        trace = replace(trace, multipliers=above, exposure=lowest.value, exposure_by=lowest.name)
    reason = reason or Reason.CUT_LIMIT
    return Decision(reason, _publication(inputs, state, rules, reason, plan, shares), state, trace)


def _under_ceilings(plan: Plan, above: tuple[Multiplier, ...]) -> tuple[Plan, Reason | None]:
    """Return the published plan scaled to the lowest ceiling that is below its exposure."""
    lowest = min((ceiling.value for ceiling in above), default=1.0)
    return (scaled(plan, lowest), Reason.CUT_CEILING) if lowest < plan.exposure else (plan, None)


@dataclass(frozen=True, slots=True)
class _Draft:
    """The plan that scores and limits ask for; all but ``projection`` in the order of ``limits``."""

    limits: Mapping[Agent, AgentLimits]
    caps: Mapping[Agent, float]
    scores: Mapping[Agent, float]
    projection: allocator.GroupedProjection
    projected: Mapping[Agent, float]
    weights: Mapping[Agent, float]
    step: float
    target: Mapping[Agent, Ppm]
    lines: Mapping[Agent, Ppm]


def _allocate(case: _Case) -> Decision:
    """Score, limit, project, expose, round, compare, withhold."""
    rules, now, known = case.rules, case.inputs.now, case.state.published
    enrolment = enrol(
        case.snapshot,
        case.state.agents,
        case.state.metrics,
        now=now,
        published=known,
        accepted=case.verdict.latches.accepted,
        rules=rules,
    )
    agents = enrolment.agents
    published, cut = (None, None) if known is None else _under_ceilings(plan_of(known), case.above)
    draft = _draft(case, enrolment, published)
    proposal = threshold.Proposal(
        lines=draft.target,
        exposure=case.exposure.value,
        limits=draft.limits,
        floors=draft.projection.floors,
        pinned={agent for agent in case.attendance.silent if _pinned(enrolment, agent)},
    )
    triggers = threshold.compare(proposal, published, agents, now, rules)
    brakes = threshold.brakes(case.state, now, rules)
    reason = _reason(draft, published, triggers, brakes)
    state = replace(case.state, agents=agents, metrics=enrolment.metrics, asked=0)
    moves, plan = reason in MOVES, published
    if moves:
        plan, state = _moved(draft, case.exposure.value, published), replace(state, moved_at=now)
    elif reason in _BRAKES:
        state = replace(state, asked=case.state.asked + 1)
        if published is not None:
            plan, fell = threshold.lowered(published, case.exposure.value, rules)
            cut = cut or fell
    lapsed = _lapsed(case, enrolment)
    withheld: Mapping[Agent, Withholding] = {}
    if plan is not None:
        withheld = withhold(plan, _facts(case, draft.caps, lapsed), published)
        if not moves and brakes[0].active:
            withheld = _not_restored(plan, withheld)
    trace = _trace(case, enrolment, draft, withheld, lapsed=lapsed, triggers=triggers, brakes=brakes)
    if plan is None:
        return Decision(reason, None, state, trace)
    shares = {**plan.lines, **{agent: plan.lines[agent] - part.amount for agent, part in withheld.items()}}
    if not moves and known is not None:
        if shares == known.shares and plan.exposure == known.exposure:
            return Decision(reason, None, state, trace)
        reason = cut or _withheld_reason(shares, known.shares, withheld)
    return Decision(reason, _publication(case.inputs, state, rules, reason, plan, shares), state, trace)


def _draft(case: _Case, enrolment: Enrolment, published: Plan | None) -> _Draft:
    """Return the plan that scores and limits ask for, before it is compared."""
    rules, exposure = case.rules, case.exposure.value
    by_agent = _limits(case, enrolment)
    scores = dict(zip(enrolment.metrics, scorer.totals(enrolment.metrics.values(), rules), strict=True))
    lo, hi = [limit.lo for limit in by_agent.values()], [limit.hi for limit in by_agent.values()]
    group, group_caps = group_indices(by_agent, rules.groups), [each.cap for each in rules.groups]
    in_order = list(map(scores.get, by_agent, repeat(0.0)))
    projection = allocator.project_groups(in_order, lo, hi, group, group_caps)
    stepped, part = projection.weights, 1.0
    if published is not None:
        old = list(map(published.weights.get, by_agent, repeat(0.0)))
        stepped, part = allocator.step(old, projection.weights, hi, rules.max_step)
    projected = dict(zip(by_agent, projection.weights, strict=True))
    weights = projected if part == 1.0 else dict(zip(by_agent, stepped, strict=True))
    target = integer_shares(projected, hi, exposure, group, group_caps)
    lines = target if part == 1.0 else integer_shares(weights, hi, exposure, group, group_caps)
    caps = dict(zip(by_agent, hi, strict=True))
    return _Draft(by_agent, caps, scores, projection, projected, weights, part, target, lines)


def _reason(draft: _Draft, published: Plan | None, triggers: tuple[Trigger, ...], brakes: tuple[Brake, ...]) -> Reason:
    """Return why this cycle moves or stays, what is withheld apart."""
    fired = next((trigger.reason for trigger in triggers if trigger.fired), None)
    if published is not None and draft.lines == published.lines:
        return Reason.UNCHANGED
    if fired is None:
        return Reason.BELOW_THRESHOLD
    return next((brake.reason for brake in brakes if brake.active), fired)


def _moved(draft: _Draft, exposure: float, published: Plan | None) -> Plan:
    """Return the plan that a move publishes."""
    return Plan(
        lines=draft.lines,
        exposure=exposure,
        weights=draft.weights,
        scores=draft.scores,
        floor_scale=draft.projection.floor_scale,
        before={} if published is None else published.before,
        exposure_before=1.0 if published is None else published.exposure,
    )


def _trace(
    case: _Case,
    enrolment: Enrolment,
    draft: _Draft,
    withheld: Mapping[Agent, Withholding],
    *,
    lapsed: tuple[Agent, ...],
    triggers: tuple[Trigger, ...],
    brakes: tuple[Brake, ...],
) -> Trace:
    agents, exposure = enrolment.agents, case.exposure
    return Trace(
        accepted=case.verdict.accepted,
        faulty=case.attendance.faulty,
        absent={agent: agents[agent].absent for agent in case.attendance.absent if agents[agent].member},
        retired=enrolment.retired,
        lapsed=lapsed,
        scores=draft.scores,
        limits=draft.limits,
        floor_scale=draft.projection.floor_scale,
        projected=draft.projected,
        step=draft.step,
        weights=draft.weights,
        multipliers=exposure.multipliers,
        exposure=exposure.value,
        exposure_by=exposure.by,
        target=draft.target,
        plan=draft.lines,
        withheld=withheld,
        triggers=triggers,
        brakes=brakes,
        warnings=_warnings(case.snapshot, exposure, draft.projection, case.rules),
    )


def _limits(case: _Case, enrolment: Enrolment) -> dict[Agent, AgentLimits]:
    """Return the limits of every member."""
    members = [agent for agent, memory in enrolment.agents.items() if memory.member]
    return limits.agent_limits(
        members,
        probation=enrolment.probation,
        pinned={
            agent: enrolment.agents[agent].pin or 0.0 for agent in case.attendance.silent if _pinned(enrolment, agent)
        },
        orders=case.inputs.limits,
        now=case.inputs.now,
        rules=case.rules,
    )


def _pinned(enrolment: Enrolment, agent: Agent) -> bool:
    return enrolment.agents[agent].member and agent not in enrolment.metrics


def _lapsed(case: _Case, enrolment: Enrolment) -> tuple[Agent, ...]:
    """Return the members that are lapsed after this cycle, sorted by name."""
    silent_or_lapsed = sorted({*case.attendance.silent, *case.attendance.lapsed})
    return tuple([agent for agent in silent_or_lapsed if enrolment.agents[agent].lapsed])


def _facts(case: _Case, caps: Mapping[Agent, float], lapsed: tuple[Agent, ...]) -> Facts:
    return Facts(
        caps=caps,
        groups=case.rules.groups,
        lapsed=frozenset(lapsed),
        unwell=frozenset(case.attendance.silent),
        withholding=limits.withholding_caps(caps, case.inputs.limits, case.inputs.now),
        max_step=case.rules.max_step,
    )


def _not_restored(plan: Plan, withheld: Mapping[Agent, Withholding]) -> dict[Agent, Withholding]:
    """Withhold as much as is withheld already: a restore waits for COOLDOWN."""
    more = {
        agent: Withholding(line - plan.before[agent], WithheldBy.COOLDOWN)
        for agent, line in plan.lines.items()
        if line - plan.before[agent] > (withheld[agent].amount if agent in withheld else 0)
    }
    return {**withheld, **more}


def _withheld_reason(
    new: Mapping[Agent, Ppm], old: Mapping[Agent, Ppm], withheld: Mapping[Agent, Withholding]
) -> Reason:
    """Return why the shares of an unchanged plan change."""
    fallen = [agent for agent, share in new.items() if share < old[agent]]
    if not fallen:
        return Reason.RESTORE
    silent = {WithheldBy.LAPSED, WithheldBy.NO_MEMBER}
    return Reason.CUT_LAPSE if any(withheld[agent].by in silent for agent in fallen) else Reason.CUT_LIMIT


def _publication(
    inputs: Inputs, state: State, rules: Rules, reason: Reason, plan: Plan, shares: Mapping[Agent, Ppm]
) -> Publication:
    generation = state.generation + 1
    return Publication(
        generation=generation,
        decision_id=decision_id(inputs.now, generation),
        at=inputs.now,
        reason=reason,
        shares=shares,
        reserve=WHOLE - sum(shares.values()),
        weights=plan.weights,
        exposure=plan.exposure,
        scores=plan.scores,
        min_alloc=rules.min_alloc,
        max_alloc=rules.max_alloc,
        floor_scale=plan.floor_scale,
        withheld={agent: line - shares[agent] for agent, line in plan.lines.items() if line > shares[agent]},
    )


def _warnings(
    snapshot: Snapshot,
    exposure: Exposure,
    projection: allocator.GroupedProjection | None = None,
    rules: Rules | None = None,
) -> tuple[str, ...]:
    warnings = [*snapshot.warnings, *exposure.warnings]
    if snapshot.guardian is None:
        warnings.append("the payload has no guardian block: taken as not paused")
    if snapshot.at is None:
        warnings.append("the payload has no time stamp: its age is unknown")
    if projection is not None and projection.floor_scale < 1.0:
        warnings.append(f"the floors do not fit: lowered to {projection.floor_scale:.2%} of themselves")
    if projection is not None and rules is not None:
        warnings += [
            f"the floors of group {rules.groups[number].name} exceed its cap, and are scaled to it"
            for number in projection.crowded
        ]
    return tuple(warnings)
