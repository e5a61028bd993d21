"""The decision: ``decide`` makes it, ``commit`` turns it into the next state. All shares come from here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from capital_governor.core import allocator, limits, scorer, threshold
from capital_governor.core.exposure import Exposure, expose
from capital_governor.core.gate import gate
from capital_governor.core.hold import Verdict, judge
from capital_governor.core.membership import Attendance, enrol, on_probation
from capital_governor.core.model import WHOLE, Agent, Inputs, Memory, Ppm, Publication, Refusal, Rules, Snapshot, State
from capital_governor.core.publication import decision_id, integer_shares
from capital_governor.core.reason import Reason
from capital_governor.core.trace import AgentLimits, Decision, Hold, Trace


def decide(inputs: Inputs, state: State, rules: Rules) -> Decision:
    """Make one decision: hold, stay, cut or move.

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
    if verdict.attendance is None or isinstance(inputs.payload, Refusal):
        return _keep_still(verdict, state)
    exposure = expose(inputs.payload, state.multipliers, inputs.now, rules)
    state = replace(state, multipliers=exposure.known)
    case = _Case(inputs, inputs.payload, state, rules, verdict, verdict.attendance, exposure)
    return _allocate(case) if verdict.hold is None else _cut_in_hold(case, verdict.hold)


def commit(decision: Decision) -> State:
    """Return the state after a decision that ``gate`` has passed."""
    if decision.proposal is None:
        return decision.after
    return replace(decision.after, published=decision.proposal, generation=decision.proposal.generation)


def score_of(agent: Agent, decision: Decision, rules: Rules) -> scorer.Score | None:
    """Return an agent's score in a decision with its parts; None if it was not scored."""
    memory = decision.after.agents.get(agent)
    if agent not in decision.trace.scores or memory is None or memory.metrics is None:
        return None
    return scorer.score(memory.metrics, rules)


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
    """The facts of a cycle with a usable payload; ``state`` already has the new latches and multipliers."""

    inputs: Inputs
    snapshot: Snapshot
    state: State
    rules: Rules
    verdict: Verdict
    attendance: Attendance
    exposure: Exposure


def _keep_still(verdict: Verdict, state: State) -> Decision:
    """Return the decision to change nothing because of the hold."""
    hold = verdict.hold or Hold(Reason.INTERNAL_ERROR, "neither the members nor a hold could be determined")
    trace = Trace(hold=hold, unusable=verdict.unusable, accepted=verdict.accepted)
    return Decision(hold.reason, None, state, trace)


def _cut_in_hold(case: _Case, hold: Hold) -> Decision:
    """Hold because of the agents, but publish a cut if one is due, since guardian and regime are known."""
    agents, exposure = case.state.agents, case.exposure
    by_agent, _ = _limits(case, agents, on_probation(agents, case.rules))
    trace = Trace(
        hold=hold,
        accepted=case.verdict.accepted,
        faulty=case.attendance.faulty,
        absent={agent: agents[agent].absent for agent in case.attendance.absent},
        limits=by_agent,
        multipliers=exposure.multipliers,
        exposure=exposure.value,
        exposure_by=exposure.by,
        warnings=_warnings(case, 1.0),
    )
    return _cut_or(hold.reason, case, case.state, by_agent, trace)


def _allocate(case: _Case) -> Decision:
    """Score, limit, project, expose, round, cut, compare."""
    rules, now, published, exposure = case.rules, case.inputs.now, case.state.published, case.exposure
    enrolment = enrol(case.snapshot, case.state.agents, now=now, founding=published is None, rules=rules)
    agents = enrolment.agents
    by_agent, unwell = _limits(case, agents, enrolment.probation)
    scores = {agent: scorer.total(seen, rules) for agent in by_agent if (seen := agents[agent].metrics) is not None}

    lo, hi = [limit.lo for limit in by_agent.values()], [limit.hi for limit in by_agent.values()]
    projection = allocator.project([scores.get(agent, 0.0) for agent in by_agent], lo, hi)
    stepped, part = projection.weights, 1.0
    if published is not None:
        old = [published.weights.get(agent, 0.0) for agent in by_agent]
        stepped, part = allocator.step(old, projection.weights, hi, rules.max_step)
    projected = dict(zip(by_agent, projection.weights, strict=True))
    weights = projected if part == 1.0 else dict(zip(by_agent, stepped, strict=True))

    target = integer_shares(projected, hi, exposure.value)
    shares = target if part == 1.0 else integer_shares(weights, hi, exposure.value)
    cuts, target_cuts = _gains(shares, unwell, published), _gains(target, unwell, published)
    final = _less(shares, cuts)
    proposal = threshold.Proposal(
        shares=_less(target, target_cuts),
        cut=sum(target_cuts.values()),
        exposure=exposure.value,
        limits=by_agent,
        floor_scale=projection.floor_scale,
        unwell=unwell,
    )
    trace = Trace(
        accepted=case.verdict.accepted,
        faulty=case.attendance.faulty,
        absent={agent: agents[agent].absent for agent in case.attendance.absent if agents[agent].member},
        retired=enrolment.retired,
        scores=scores,
        limits=by_agent,
        floor_scale=projection.floor_scale,
        projected=projected,
        step=part,
        weights=weights,
        multipliers=exposure.multipliers,
        exposure=exposure.value,
        exposure_by=exposure.by,
        target=target,
        shares=shares,
        cuts=cuts,
        triggers=threshold.compare(proposal, published, agents, now, rules),
        brakes=threshold.brakes(case.state, now, rules),
        warnings=_warnings(case, projection.floor_scale),
    )
    state = replace(case.state, agents=agents)
    fired = next((trigger.reason for trigger in trace.triggers if trigger.fired), None)
    if published is not None and final == published.shares:
        return Decision(Reason.UNCHANGED, None, replace(state, asked=0), trace)
    if fired is None:
        return Decision(Reason.BELOW_THRESHOLD, None, replace(state, asked=0), trace)
    braked = next((brake.reason for brake in trace.brakes if brake.active), None)
    if braked is not None:
        return _cut_or(braked, case, replace(state, asked=state.asked + 1), by_agent, trace)
    move = _publication(
        case,
        fired,
        shares=final,
        # After a cut the weight follows from the share: weight = share / exposure.
        weights=weights | {agent: final[agent] / WHOLE / exposure.value for agent in cuts} if cuts else weights,
        exposure=exposure.value,
        scores=scores,
        floor_scale=projection.floor_scale,
    )
    return Decision(fired, move, replace(state, asked=0, moved_at=now), trace)


def _limits(
    case: _Case, agents: Mapping[Agent, Memory], probation: Collection[Agent]
) -> tuple[dict[Agent, AgentLimits], frozenset[Agent]]:
    """Return the limits of every member, and the faulty or absent members, which may not gain."""
    unwell = frozenset(agent for agent in (*case.attendance.faulty, *case.attendance.absent) if agents[agent].member)
    published = case.state.published
    by_agent = limits.agent_limits(
        [agent for agent, memory in agents.items() if memory.member],
        probation=probation,
        pinned={agent: _published_weight(agent, published) for agent in unwell if agents[agent].metrics is None},
        orders=case.inputs.limits,
        now=case.inputs.now,
        rules=case.rules,
    )
    return by_agent, unwell


def _published_weight(agent: Agent, published: Publication | None) -> float:
    """Return published share / exposure, the weight that results in the same share."""
    if published is None:
        return 0.0
    if published.exposure == 0.0:
        return published.weights.get(agent, 0.0)
    return published.shares.get(agent, 0) / WHOLE / published.exposure


def _gains(shares: Mapping[Agent, Ppm], unwell: Collection[Agent], published: Publication | None) -> dict[Agent, Ppm]:
    """Return by how much faulty and absent agents would gain; this is cut from their shares."""
    before = {} if published is None else published.shares
    return {agent: gain for agent in sorted(unwell) if (gain := shares[agent] - before.get(agent, 0)) > 0}


def _less(shares: Mapping[Agent, Ppm], cuts: Mapping[Agent, Ppm]) -> Mapping[Agent, Ppm]:
    return {agent: share - cuts.get(agent, 0) for agent, share in shares.items()} if cuts else shares


def _cut_or(
    otherwise: Reason, case: _Case, after: State, by_agent: Mapping[Agent, AgentLimits], trace: Trace
) -> Decision:
    """Publish a cut if one is due; else end with the reason ``otherwise``, a brake or a hold."""
    published = case.state.published
    due = None if published is None else threshold.cut(published, by_agent, case.exposure.value, case.rules)
    if published is None or due is None:
        return Decision(otherwise, None, after, trace)
    publication = _publication(
        case,
        due.reason,
        shares=due.shares,
        weights=due.weights,
        exposure=due.exposure,
        scores=published.scores,
        floor_scale=published.floor_scale,
    )
    return Decision(due.reason, publication, after, trace)


def _publication(
    case: _Case,
    reason: Reason,
    *,
    shares: Mapping[Agent, Ppm],
    weights: Mapping[Agent, float],
    exposure: float,
    scores: Mapping[Agent, float],
    floor_scale: float,
) -> Publication:
    generation = case.state.generation + 1
    return Publication(
        generation=generation,
        decision_id=decision_id(case.inputs.now, generation),
        at=case.inputs.now,
        reason=reason,
        shares=shares,
        reserve=WHOLE - sum(shares.values()),
        weights=weights,
        exposure=exposure,
        scores=scores,
        min_alloc=case.rules.min_alloc,
        max_alloc=case.rules.max_alloc,
        floor_scale=floor_scale,
    )


def _warnings(case: _Case, floor_scale: float) -> tuple[str, ...]:
    snapshot, warnings = case.snapshot, [*case.snapshot.warnings, *case.exposure.warnings]
    if snapshot.guardian is None:
        warnings.append("the payload has no guardian block: taken as not paused")
    if snapshot.at is None:
        warnings.append("the payload has no time stamp: its age is unknown")
    if floor_scale < 1.0:
        warnings.append(f"the floors do not fit: lowered to {floor_scale:.2%} of themselves")
    return tuple(warnings)
