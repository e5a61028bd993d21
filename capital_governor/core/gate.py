"""The last check of a proposal before it is published. It shares no code with the allocator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from capital_governor.core.model import (
    DRAWDOWN,
    REGIME,
    WHOLE,
    Agent,
    Inputs,
    Memory,
    Ppm,
    Publication,
    Refusal,
    Rules,
    Snapshot,
    State,
    ppm,
)
from capital_governor.core.reason import AGENT_HOLDS, Reason
from capital_governor.core.trace import Decision

MAX_FUTURE_SECONDS: Final = 60.0
"""How far the clock of the payload's producer may be ahead of this machine's."""


def gate(decision: Decision, inputs: Inputs, state: State, rules: Rules) -> Reason | None:
    """Return what is wrong with a decision's proposal; None if it may be published.

    Args:
        decision: the result of ``decide``.
        inputs: its argument.
        state: its argument.
        rules: its argument.
    """
    new = decision.proposal
    if new is None:
        return None
    if isinstance(inputs.payload, Refusal) or _is_forbidden(inputs, inputs.payload, state, rules):
        return Reason.GATE_FORBIDDEN
    old = {} if state.published is None else state.published.shares
    checks = {
        Reason.GATE_SUM: _adds_up(new),
        Reason.GATE_EXPOSURE: sum(new.shares.values()) <= ppm(1.0, new.exposure),
        Reason.GATE_LIMIT: _within_limits(new, inputs, rules),
        Reason.GATE_FAULTY_GAIN: _no_gain_unwell(new.shares, old, inputs.payload),
        Reason.GATE_MULTIPLIER: new.exposure <= _most_exposure(inputs, inputs.payload, state, rules),
        Reason.GATE_STRANGER: _no_strangers(new.shares, old, inputs.payload, state.agents),
        Reason.GATE_RISE: not _is_braked(inputs, inputs.payload, state, rules) or _nothing_rises(new.shares, old),
        Reason.GATE_GENERATION: new.generation == 1 + max(state.generation, inputs.known_generation),
    }
    return next((reason for reason, passed in checks.items() if not passed), None)


def _is_forbidden(inputs: Inputs, payload: Snapshot, state: State, rules: Rules) -> bool:
    """Whether nothing may be published: stopped, paused, held, or no usable payload."""
    if inputs.stopped or inputs.files_problem or _paused(inputs, payload):
        return True
    if inputs.hold is not None and (inputs.hold.until is None or inputs.now < inputs.hold.until):
        return True
    if payload.at is not None and not -MAX_FUTURE_SECONDS <= inputs.now - payload.at <= rules.max_age_seconds:
        return True
    if state.latches.guardian_seen and payload.guardian is None and not inputs.accepts(Reason.GUARDIAN_LOST):
        return True
    if state.latches.timestamp_seen and payload.at is None and not inputs.accepts(Reason.TIMESTAMP_LOST):
        return True
    # A pause once seen ends only with a complete payload: with its blocks (checked above) and with agents.
    return state.latches.paused and not payload.metrics and not payload.faults


def _paused(inputs: Inputs, payload: Snapshot) -> bool:
    """Whether the payload or the pause file says paused."""
    file = inputs.pause
    expired = False
    if file is not None and (file.paused or file.problem):
        expired = not file.problem and file.until is not None and file.until <= inputs.now
        if not expired:
            return True
    guardian = payload.guardian
    if guardian is None or not guardian.is_paused:
        return False
    repeats = expired and file is not None and file.reason != "" and file.reason == guardian.reason
    return not repeats


def _adds_up(new: Publication) -> bool:
    lines = [*new.shares.values(), new.reserve]
    return set(map(type, lines)) == {int} and min(lines) >= 0 and sum(lines) == WHOLE


def _within_limits(new: Publication, inputs: Inputs, rules: Rules) -> bool:
    caps: dict[Agent, float] = {}
    for order in inputs.limits:
        if order.cap is not None and (order.until is None or inputs.now < order.until):
            caps[order.agent] = min(order.cap, caps.get(order.agent, 1.0))
    within_caps = all(new.shares.get(agent, 0) <= ppm(cap, new.exposure) for agent, cap in caps.items())
    return within_caps and max(new.shares.values(), default=0) <= ppm(rules.max_alloc, new.exposure)


def _no_gain_unwell(new: Mapping[Agent, Ppm], old: Mapping[Agent, Ppm], payload: Snapshot) -> bool:
    """Whether no agent without a good record in this payload gets more than its published share."""
    return all(new[agent] <= old.get(agent, 0) for agent in new.keys() - payload.metrics.keys())


def _most_exposure(inputs: Inputs, payload: Snapshot, state: State, rules: Rules) -> float:
    """Return the smallest multiplier, from the payload or else the last known."""
    regime = _regime(payload, inputs.now, state.multipliers.get(REGIME), rules)
    percent = payload.guardian.drawdown_percent if payload.guardian is not None else None
    if percent is None:
        drawdown = state.multipliers.get(DRAWDOWN, 1.0)
    elif percent <= rules.drawdown_cut_start_percent:
        drawdown = 1.0
    elif percent >= rules.drawdown_cut_end_percent:
        drawdown = rules.drawdown_cut_floor
    else:
        steep = (1.0 - rules.drawdown_cut_floor) / (rules.drawdown_cut_end_percent - rules.drawdown_cut_start_percent)
        # The same line as in `exposure`, computed in another way, so equal except for the last digits.
        drawdown = 1.0 - steep * (percent - rules.drawdown_cut_start_percent) + 1e-12
    return min(1.0, regime, drawdown)


def _regime(payload: Snapshot, now: float, known: float | None, rules: Rules) -> float:
    """Return the multiplier of the market regime; one that is too old or from the future cannot raise it."""
    block = payload.regime
    if block is None or block.risk_multiplier is None:
        return 1.0 if known is None else known
    if known is None or block.at is None:
        return block.risk_multiplier
    of_now = now - rules.max_age_seconds <= block.at <= now + MAX_FUTURE_SECONDS
    return block.risk_multiplier if of_now else min(known, block.risk_multiplier)


def _no_strangers(
    new: Mapping[Agent, Ppm], old: Mapping[Agent, Ppm], payload: Snapshot, agents: Mapping[Agent, Memory]
) -> bool:
    """Whether every name is a member (in the state or by a good record), or published and now at 0."""
    for agent in new.keys() - payload.metrics.keys():
        memory = agents.get(agent)
        member = memory is not None and memory.member
        if not member and not (agent in old and new[agent] == 0):
            return False
    return True


def _is_braked(inputs: Inputs, payload: Snapshot, state: State, rules: Rules) -> bool:
    """Whether a hold for agents, the cool-down or CONFIRM_CYCLES forbids that a share rises."""
    if _agents_hold(inputs, payload, state, rules):
        return True
    cooling = state.moved_at is not None and max(0.0, inputs.now - state.moved_at) < rules.cooldown_seconds
    return cooling or state.asked + 1 < rules.confirm_cycles


def _agents_hold(inputs: Inputs, payload: Snapshot, state: State, rules: Rules) -> bool:
    """Whether most agents are faulty, or half or more of the members have just gone."""
    if inputs.accepts(*AGENT_HOLDS):
        return False
    members = {agent for agent, memory in state.agents.items() if memory.member}
    if not members:
        return len(payload.faults) > len(payload.metrics)
    missed = members - payload.metrics.keys() - set(state.latches.accepted)
    faulty = missed & payload.faults.keys()
    if 2 * len(faulty) > len(members | payload.metrics.keys()):
        return True
    gone = {agent for agent in missed - faulty if state.agents[agent].absent == 0}
    waited = state.latches.gone_cycles >= max(4, 4 * rules.membership_grace_cycles)
    return bool(gone) and 2 * len(gone) >= len(members) and not waited


def _nothing_rises(new: Mapping[Agent, Ppm], old: Mapping[Agent, Ppm]) -> bool:
    return all(share <= old.get(agent, 0) for agent, share in new.items())
