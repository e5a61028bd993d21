"""Turns: the cycles that differed from the one before, with the facts of why. Pure.

Most cycles repeat the one before. Only a turn is stored with its facts, so that the history of months is read without
decoding an entry or deciding anything again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from capital_governor.core.model import OPERATOR, REGIME, Agent, Inputs, Publication, Rules, Snapshot
from capital_governor.core.reason import CUTS, HOLDS, MOVES, Reason
from capital_governor.core.trace import Decision, Trace, Trigger
from capital_governor.settings.value_text import value_text

Facts: TypeAlias = Mapping[str, Any]
"""Plain data, as JSON has it. See ``facts_of``; a key without a value is left out."""

MOST_NAMES: Final = 20
"""So many agents are named in one fact."""
_NUMBER: Final = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A recorded cycle that differed from the one before.

    Args:
        seq: increases from turn to turn.
        at: when it was decided, in seconds since 1970 UTC.
        reason: how it ended.
        generation: what it proposed; None if nothing.
        reached: whether the agents have seen that generation.
        facts: see ``facts_of``; empty if an earlier version recorded it.
    """

    seq: int
    at: float
    reason: Reason
    generation: int | None
    reached: bool
    facts: Facts

    @property
    def hold(self) -> Reason | None:
        """The hold of this cycle, also behind a cut; None if it decided."""
        if self.reason in HOLDS:
            return self.reason
        return Reason(self.facts["hold_reason"]) if "hold_reason" in self.facts else None


def facts_of(
    inputs: Inputs, decision: Decision, before: Publication | None, settings: Mapping[str, list[str]] | None = None
) -> dict[str, Any]:
    """Return the facts of a cycle, in which ``settings`` have changed.

    Shares and ratios are 0..1, amounts of triggers in millionths of all capital.

    - ``hold``: the facts of its hold, in words; ``hold_reason``: which hold, of a cycle that cuts in one
    - ``exposure``: ``value``, ``by`` (the multiplier that is the smallest), ``origin``, ``raw``, and ``name`` of a
      regime, or ``author``, ``until`` and ``order_reason`` of an operator's ceiling
    - ``trigger``: of a move the first that fired, of a stay the largest change: ``reason``, ``subject``, ``value``,
      ``limit``; of an agent its ``scores``, published and new, and its cap (``cap_by``, ``cap_detail``)
    - ``withheld``: of a cut, by agent what withholds more than before, and who ordered that
    - ``settings``: of the first cycle under other rules than the cycle before, see ``changed_rules``
    - ``faulty``, ``absent``, ``lapsed``: by agent what is wrong, or for how many cycles; names. At most MOST_NAMES each
    """
    trace = decision.trace
    facts: dict[str, Any] = {
        "hold": "" if trace.hold is None else trace.hold.detail,
        "hold_reason": "" if trace.hold is None or trace.hold.reason is decision.reason else trace.hold.reason.value,
        "exposure": _exposure(inputs, trace),
        "trigger": _trigger(decision, before),
        "withheld": _withheld(decision, before),
        "faulty": {agent: trace.faulty[agent] for agent in _first(trace.faulty)},
        "absent": {agent: trace.absent[agent] for agent in _first(trace.absent)},
        "lapsed": _first(trace.lapsed),
        "settings": settings,
    }
    return {name: value for name, value in facts.items() if value}


def changed_rules(old: Rules, new: Rules) -> dict[str, list[str]]:
    """Return the settings that differ, by the name of their field in ``Rules``: the old value and the new, as text."""
    pairs = {each.name: (getattr(old, each.name), getattr(new, each.name)) for each in fields(Rules)}
    return {name: [value_text(name, value) for value in pair] for name, pair in pairs.items() if pair[0] != pair[1]}


def repeats(reason: str, facts: Facts, later_reason: str, later: Facts) -> bool:
    """Return whether a later cycle, which published nothing, is like an earlier one.

    Numbers in the text of a hold, such as the age of a payload, and the amounts of exposure and changes do not count.
    """
    return "settings" not in later and (reason, _mark(facts)) == (later_reason, _mark(later))


def _mark(facts: Facts) -> object:
    exposure = facts.get("exposure", {})
    cause = [exposure.get(name) for name in ("by", "origin", "name", "author", "order_reason")]
    unwell = [sorted(facts.get(name, ())) for name in ("faulty", "absent", "lapsed")]
    return without_numbers(facts.get("hold", "")), cause, unwell


def without_numbers(text: str) -> str:
    """Return the text of a hold without what changes from cycle to cycle."""
    return _NUMBER.sub("#", text)


def _first(agents: Iterable[Agent]) -> list[Agent]:
    return sorted(agents)[:MOST_NAMES]


def _exposure(inputs: Inputs, trace: Trace) -> dict[str, Any]:
    if not trace.multipliers:
        return {}
    if trace.exposure == 1.0:
        return {"value": 1.0}
    smallest = next(each for each in trace.multipliers if each.name == trace.exposure_by)
    said: dict[str, Any] = {"value": trace.exposure, "by": smallest.name, "origin": smallest.origin}
    if smallest.raw is not None:
        said["raw"] = smallest.raw
    regime = inputs.payload.regime if isinstance(inputs.payload, Snapshot) else None
    if smallest.name == REGIME and regime is not None and regime.name:
        said["name"] = regime.name
    if smallest.name == OPERATOR and inputs.ceiling is not None:
        order = inputs.ceiling
        said |= {"author": order.author, "until": order.until, "order_reason": order.reason}
    return said


def _trigger(decision: Decision, before: Publication | None) -> dict[str, Any]:
    triggers = decision.trace.triggers
    found: Trigger | None = None
    if decision.reason in MOVES:
        found = next((trigger for trigger in triggers if trigger.fired), None)
    elif decision.proposal is None:
        found = next((trigger for trigger in triggers if trigger.reason is Reason.THRESHOLD), None)
    if found is None:
        return {}
    agent, trace = found.subject, decision.trace
    said: dict[str, Any] = {"reason": found.reason.value, "value": found.value, "limit": found.limit}
    if agent:
        said["subject"] = agent
    if agent in trace.scores:
        said["scores"] = [None if before is None else before.scores.get(agent), trace.scores[agent]]
    if agent in trace.limits:
        said |= {"cap_by": trace.limits[agent].hi_by.source.value, "cap_detail": trace.limits[agent].hi_by.detail}
    return said


def _withheld(decision: Decision, before: Publication | None) -> dict[Agent, list[str]]:
    new = decision.proposal
    if new is None or before is None or decision.reason not in CUTS:
        return {}
    more = [agent for agent, amount in new.withheld.items() if amount > before.withheld.get(agent, 0)]
    causes = decision.trace.withheld
    return {agent: [causes[agent].by.value, causes[agent].detail] for agent in _first(more) if agent in causes}
