"""Parts of a decision that are wrong: what bad records or silence take goes to others, or comes back too early.

Each value is the part's name below ``capital_governor`` and what stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from capital_governor.core import decision, hold, membership, threshold, withholding
from capital_governor.core.hold import Verdict
from capital_governor.core.membership import Enrolment
from capital_governor.core.model import (
    WHOLE,
    Agent,
    Inputs,
    Memory,
    Metrics,
    Ppm,
    Publication,
    Refusal,
    Rules,
    Snapshot,
    State,
)
from capital_governor.core.reason import Reason
from capital_governor.core.trace import AgentLimits, WithheldBy, Withholding
from capital_governor.core.withholding import Facts, Plan
from capital_governor.journal import codec

_absence, _compare, _decode = withholding._absence, threshold.compare, codec.decode
_enrol, _judge, _leaves = membership.enrol, hold.judge, membership.leaves
_limits, _publication, _withhold = decision._limits, decision._publication, withholding.withhold


def _may_gain(*given: Any) -> list[Any]:
    """Withhold nothing because a record is faulty or missing."""
    return [bound for bound in _absence(*given) if bound[1] is not WithheldBy.UNWELL]


def _planned_without(who: Callable[[Any, Enrolment], Collection[Agent]]) -> Callable[..., dict[Agent, AgentLimits]]:
    """Leave some members out of the plan."""

    def limits(case: Any, enrolment: Enrolment) -> dict[Agent, AgentLimits]:
        out = who(case, enrolment)
        return {name: limit for name, limit in _limits(case, enrolment).items() if name not in out}

    return limits


def _worthless(snapshot: Snapshot, *known: Any, **more: Any) -> Enrolment:
    """Forget the last good metrics of those without a good record, for the worst there are."""
    enrolment = _enrol(snapshot, *known, **more)
    worst = Metrics(pnl_7d=-1e6, sharpe_30d=-9.0, winrate_30d=0.0, max_dd_30d=100.0)
    return replace(enrolment, metrics={name: snapshot.metrics.get(name, worst) for name in enrolment.metrics})


def _shared_out(most: Ppm) -> Callable[..., Publication]:
    """Give the largest other share what is withheld from those without a good record, or a part of it."""

    def publication(
        inputs: Inputs, state: State, rules: Rules, reason: Reason, plan: Plan, shares: Mapping[Agent, Ppm]
    ) -> Publication:
        good = {} if isinstance(inputs.payload, Refusal) else inputs.payload.metrics
        left = sum(plan.lines[name] - share for name, share in shares.items() if name not in good)
        largest = max(sorted(shares.keys() & good.keys()), key=shares.__getitem__, default=None)
        if largest is not None:
            shares = {**shares, largest: shares[largest] + min(left, most)}
        return _publication(inputs, state, rules, reason, plan, shares)

    return publication


def _room_shared_out(plan: Plan, facts: Facts, published: Plan | None) -> dict[Agent, Withholding]:
    """Withhold for silence before the groups' caps, so that a silent agent's part of its group goes to the others."""
    silent = set(facts.lapsed) | set(facts.unwell)
    found = _withhold(plan, facts, published)
    lines = {name: 0 if name in silent else line for name, line in plan.lines.items()}
    others = _withhold(replace(plan, lines=lines), facts, published)
    return others | {name: found[name] for name in silent & found.keys()}


def _by_shares(proposal: Any, published: Plan | None, *others: Any) -> Any:
    """Compare with the published shares instead of plan lines."""
    return _compare(proposal, None if published is None else replace(published, lines=published.before), *others)


def _given_up(inputs: Inputs, state: State, rules: Rules) -> Verdict:
    """Accept the absence of half of the members once the hold for it is over."""
    verdict = _judge(inputs, state, rules)
    if verdict.hold is not None or verdict.attendance is None or not state.latches.gone_cycles:
        return verdict
    accepted = tuple(sorted({*verdict.latches.accepted, *verdict.attendance.absent}))
    return replace(verdict, latches=replace(verdict.latches, accepted=accepted))


def _retires(memory: Memory, *, faulty: bool, rules: Rules, **_: Any) -> bool:
    return not faulty and memory.absent >= rules.membership_grace_cycles


def _forgets(forget: Callable[[State], State]) -> Callable[..., State]:
    """Read back a state without something."""
    return lambda *given: forget(_decode(*given))


def _nothing_withheld(state: State) -> State:
    published = state.published
    return replace(state, published=None if published is None else replace(published, withheld={}))


def _nobody_lapsed(state: State) -> State:
    return replace(state, agents={name: memory._replace(lapsed=False) for name, memory in state.agents.items()})


BAD_RECORDS: Final[Mapping[str, tuple[str, object]]] = {
    "agents without a good record may gain": ("core.withholding._absence", _may_gain),
    "agents without a good record are not in the plan": (
        "core.decision._limits",
        _planned_without(lambda case, _: case.attendance.silent),
    ),
    "agents without a good record have the worst score": ("core.decision.enrol", _worthless),
    "what a bad record takes goes to the largest share": ("core.decision._publication", _shared_out(WHOLE)),
}
"""For faulty records and for missing ones."""

SILENCE: Final[Mapping[str, tuple[str, object]]] = {
    "a millionth of what is withheld goes to the largest share": ("core.decision._publication", _shared_out(1)),
    "a silent agent's part of its group goes to the others": ("core.decision.withhold", _room_shared_out),
    "shares are compared instead of plan lines": ("core.threshold.compare", _by_shares),
    "lapsed agents are not in the plan": (
        "core.decision._limits",
        _planned_without(lambda _, enrolment: {name for name, memory in enrolment.agents.items() if memory.lapsed}),
    ),
    "an absent agent retires when its grace is over": ("core.membership.leaves", _retires),
    "a lapsed agent is released by nobody's word": (
        "core.membership.leaves",
        lambda memory, **given: memory.silent >= 3 or _leaves(memory, **given),
    ),
    "RELEASE_AFTER counts from the last record on": (
        "core.membership.leaves",
        lambda memory, **given: _leaves(memory._replace(silent=memory.absent), **given),
    ),
    "half of the members are released by waiting": ("core.decision.judge", _given_up),
    "one good record ends a lapse": ("core.membership.RETURN_CYCLES", 1),
    "a start forgets what is withheld": ("journal.codec.decode", _forgets(_nothing_withheld)),
    "a start forgets who has lapsed": ("journal.codec.decode", _forgets(_nobody_lapsed)),
}
"""For agents that are silent for long."""
