"""The last check of a proposal before it is published. It shares no code with the allocator."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Final

from capital_governor.core.model import (
    DRAWDOWN,
    EVERYBODY,
    REGIME,
    WHOLE,
    Agent,
    Group,
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
GOOD_RECORDS_TO_RETURN: Final = 3
"""So many good records in decided cycles in a row end a lapse."""


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
    if inputs.stopped or inputs.files_problem:
        return Reason.GATE_FORBIDDEN
    held = isinstance(inputs.payload, Refusal) or _is_held(inputs, inputs.payload, state, rules)
    old = state.published
    if held and old is None:
        return Reason.GATE_FORBIDDEN
    before = {} if old is None else old.shares
    checks = {
        Reason.GATE_SUM: _adds_up(new),
        Reason.GATE_EXPOSURE: sum(new.shares.values()) + sum(new.withheld.values()) <= ppm(1.0, new.exposure),
        Reason.GATE_LIMIT: _within_limits(new, inputs, rules),
        Reason.GATE_MULTIPLIER: new.exposure <= _most_exposure(inputs, state, rules, held=held),
        Reason.GATE_RISE: _rises_rightly(new, old, inputs, state, rules, held=held),
        Reason.GATE_FAULTY_GAIN: _no_gain_unwell(new.shares, before, inputs.payload),
        Reason.GATE_STRANGER: held or _none_for_the_silent(new.shares, inputs.payload, state.agents, rules),
        Reason.GATE_GENERATION: new.generation == 1 + max(state.generation, inputs.known_generation),
    }
    return next((reason for reason, passed in checks.items() if not passed), None)


def _is_held(inputs: Inputs, payload: Snapshot, state: State, rules: Rules) -> bool:
    """Whether nothing may rise: paused, held, no usable payload, or most agents faulty or gone."""
    return _no_usable_payload(inputs, payload, state, rules) or _agents_hold(inputs, payload, state, rules)


def _no_usable_payload(inputs: Inputs, payload: Snapshot, state: State, rules: Rules) -> bool:
    """Whether the fleet is paused or held, or the payload is not to be used."""
    if _paused(inputs, payload):
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
    lines = [*new.shares.values(), *new.withheld.values(), new.reserve]
    whole = sum(new.shares.values()) + new.reserve == WHOLE
    return set(map(type, lines)) == {int} and min(lines) >= 0 and whole and new.withheld.keys() <= new.shares.keys()


def _within_limits(new: Publication, inputs: Inputs, rules: Rules) -> bool:
    """Whether no share is above MAX_ALLOC or an operator's cap, and no group's shares above its cap."""
    caps: dict[Agent, float] = {}
    for order in inputs.limits:
        if order.cap is not None and (order.until is None or inputs.now < order.until):
            caps[order.agent] = min(order.cap, caps.get(order.agent, 1.0))
    everybody = min(rules.max_alloc, caps.pop(EVERYBODY, 1.0))
    within_caps = all(new.shares.get(agent, 0) <= ppm(cap, new.exposure) for agent, cap in caps.items())
    return (
        within_caps
        and max(new.shares.values(), default=0) <= ppm(everybody, new.exposure)
        and _groups_fit(new, rules.groups)
    )


def _groups_fit(new: Publication, groups: Sequence[Group]) -> bool:
    """Whether the shares of each group add up to no more than its cap times exposure."""
    if not groups:
        return True
    left, fits = set(new.shares), True
    for group in groups:
        belongs = _matcher(group.patterns).match
        mine = {agent for agent in left if belongs(agent)}
        left -= mine
        fits &= sum(new.shares[agent] for agent in mine) <= ppm(group.cap, new.exposure)
    return fits


def _no_gain_unwell(new: Mapping[Agent, Ppm], old: Mapping[Agent, Ppm], payload: Snapshot | Refusal) -> bool:
    """Whether no agent without a good record in this payload gets more than its published share."""
    good = () if isinstance(payload, Refusal) else payload.metrics
    return all(share <= old.get(agent, 0) for agent, share in new.items() if agent not in good)


@lru_cache(maxsize=256)
def _matcher(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Return the expression that matches a name of which one of these names or globs speaks."""
    return re.compile("|".join(map(translate, patterns)) or "(?!)")


def _most_exposure(inputs: Inputs, state: State, rules: Rules, *, held: bool) -> float:
    """Return the most that exposure may be.

    A person's ceilings hold always. The multipliers of a payload are for a rise: at most the published exposure is
    always allowed, and in a hold no more than that.
    """
    ceiling = 1.0 - rules.min_reserve
    if inputs.ceiling is not None and (inputs.ceiling.until is None or inputs.now < inputs.ceiling.until):
        ceiling = min(ceiling, inputs.ceiling.value)
    published = 0.0 if state.published is None else state.published.exposure
    if held or isinstance(inputs.payload, Refusal):
        return min(ceiling, published)
    return min(ceiling, max(published, _payload_exposure(inputs, inputs.payload, state, rules)))


def _payload_exposure(inputs: Inputs, payload: Snapshot, state: State, rules: Rules) -> float:
    """Return the smallest multiplier of this payload, or else the last known."""
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


def _none_for_the_silent(
    new: Mapping[Agent, Ppm], payload: Snapshot | Refusal, agents: Mapping[Agent, Memory], rules: Rules
) -> bool:
    """Whether a decided cycle gives nothing to agents that are no members, or lapsed."""
    metrics, faults = (payload.metrics, payload.faults) if isinstance(payload, Snapshot) else ({}, {})
    # The third good record in a row ends a lapse.
    barred = {
        agent
        for agent, memory in agents.items()
        if memory.lapsed and (agent not in metrics or memory.returned < GOOD_RECORDS_TO_RETURN - 1)
    }
    for agent in [agent for agent in new if agent not in metrics]:
        memory = agents.get(agent)
        if memory is None or not memory.member or _lapses(agent, memory, faults, rules):
            barred.add(agent)
    return not any(new.get(agent, 0) for agent in barred)


def _lapses(agent: Agent, memory: Memory, faults: Mapping[Agent, str], rules: Rules) -> bool:
    """Whether a member without a good record lapses in this cycle."""
    return agent not in faults and memory.absent >= rules.membership_grace_cycles


def _rises_rightly(
    new: Publication, old: Publication | None, inputs: Inputs, state: State, rules: Rules, *, held: bool
) -> bool:
    """Whether nothing rises in a hold or within COOLDOWN, nor above its published plan before CONFIRM_CYCLES."""
    shares = {} if old is None else old.shares
    cooling = state.moved_at is not None and max(0.0, inputs.now - state.moved_at) < rules.cooldown_seconds
    if (held or cooling) and not _nothing_rises(new.shares, shares):
        return False
    return state.asked + 1 >= rules.confirm_cycles or _nothing_rises(new.shares, {} if old is None else old.plan)


def _agents_hold(inputs: Inputs, payload: Snapshot, state: State, rules: Rules) -> bool:
    """Whether there are no agents, most are faulty, or half or more of the members have just gone."""
    if _nobody_to_decide_about(inputs, payload, state, rules):
        return True
    if inputs.accepts(*AGENT_HOLDS):
        return False
    if not any(memory.member for memory in state.agents.values()):
        return len(payload.faults) > len(payload.metrics)
    unheard = {agent: memory for agent, memory in state.agents.items() if agent not in payload.metrics}
    missed = {agent for agent, memory in unheard.items() if memory.member and not memory.lapsed}
    missed -= {*state.latches.accepted, *inputs.released}
    if not missed:
        return False
    members = {agent for agent, memory in state.agents.items() if memory.member and not memory.lapsed}
    faulty = missed & payload.faults.keys()
    if 2 * len(faulty) > len(members | payload.metrics.keys()):
        return True
    gone = {agent for agent in missed - faulty if state.agents[agent].absent == 0}
    waited = state.latches.gone_cycles >= max(4, 4 * rules.membership_grace_cycles)
    return bool(gone) and 2 * len(gone) >= len(members) and not waited


def _nobody_to_decide_about(inputs: Inputs, payload: Snapshot, state: State, rules: Rules) -> bool:
    """Whether the payload has no agents, or has no good record while every member ceases to be one.

    Not if a person has accepted that of all members, lapsed ones only counting where there are no others.
    """
    if payload.metrics:
        return False
    everyone = {agent: memory for agent, memory in state.agents.items() if memory.member}
    present = {agent for agent, memory in everyone.items() if not memory.lapsed}
    excused = {*state.latches.accepted, *inputs.released}
    if inputs.accepts(*AGENT_HOLDS):
        excused |= present
    emptied = bool(everyone) and (present or everyone.keys()) <= excused
    if emptied and state.published is not None:
        return False
    if not payload.faults and not emptied:
        return True
    lines = () if state.published is None else state.published.shares
    return all(
        (memory.lapsed or _lapses(agent, memory, payload.faults, rules))
        and (agent in excused or agent not in lines or _is_released_in_time(agent, memory, payload, rules))
        for agent, memory in everyone.items()
    )


def _is_released_in_time(agent: Agent, memory: Memory, payload: Snapshot, rules: Rules) -> bool:
    """Whether RELEASE_AFTER is over for a member that lapses in this cycle, or has lapsed."""
    silent = memory.silent + 1 if memory.lapsed else 0
    after = rules.release_after_cycles
    return agent not in payload.faults and after is not None and silent >= after


def _nothing_rises(new: Mapping[Agent, Ppm], old: Mapping[Agent, Ppm]) -> bool:
    return all(share <= old.get(agent, 0) for agent, share in new.items())
