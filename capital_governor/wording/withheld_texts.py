"""What is withheld from agents, by what, and what ends it, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from capital_governor.core.membership import RETURN_CYCLES
from capital_governor.core.model import Agent, Publication, Rules
from capital_governor.core.trace import Trace, WithheldBy, Withholding
from capital_governor.wording.amounts import NAMED, count_text, percent_text
from capital_governor.wording.message_form import agent_word

_ENDS: Final[Mapping[WithheldBy, str]] = {
    WithheldBy.LIMIT: "the next move, whose plan keeps to the limit, or a higher limit",
    WithheldBy.GROUP: "the next move, whose plan keeps to the group's cap, or a higher cap",
    WithheldBy.NO_MEMBER: "the next move, which shares it out",
    WithheldBy.UNWELL: "its next good record",
    WithheldBy.CAP: "the end of the order, or `capital-governor unlimit {agent}`",
    WithheldBy.STEP: "the next cycles: each gives back up to MAX_STEP of what is deployed",
    WithheldBy.COOLDOWN: "the end of COOLDOWN",
    WithheldBy.BEFORE: "the end of the hold, when it is worked out again",
}


def cause_text(withheld: Withholding) -> str:
    """Return what withholds a part of a plan line, and who ordered that."""
    return withheld.by.value + (f" {withheld.detail}" if withheld.detail else "")


def end_text(agent: Agent, withheld: Withholding, rules: Rules) -> str:
    """Return what ends it."""
    if withheld.by is WithheldBy.LAPSED:
        return lapse_end_text([agent], rules)
    return _ENDS[withheld.by].format(agent=agent_word(agent))


def lapse_end_text(agents: Iterable[Agent], rules: Rules) -> str:
    """Return what ends a lapse, and when, if ever, others get what is withheld."""
    names = list(agents)
    who = agent_word(names[0]) if len(names) == 1 else "AGENT"
    ends = f"{count_text(RETURN_CYCLES, 'good record')} in a row, or `capital-governor release {who}`"
    if rules.release_after_cycles is None:
        return ends
    return f"{ends}, or {count_text(rules.release_after_cycles, 'decided cycle')} without a record (RELEASE_AFTER)"


def causes_after(trace: Trace, known: Mapping[Agent, str]) -> dict[Agent, str]:
    """Return what withholds a part of each plan line, by agent; ``known`` is what did in the cycle before.

    A hold does not work out anew what was withheld before it, so that the known cause stays.
    """
    return {
        agent: known[agent] if found.by is WithheldBy.BEFORE and agent in known else cause_text(found)
        for agent, found in trace.withheld.items()
    }


def withheld_text(published: Publication, trace: Trace) -> str:
    """Return what is withheld from whom and by what, in percent; empty if nothing is."""
    ranked = sorted(published.withheld.items(), key=lambda item: (-item[1], item[0]))
    parts = []
    for agent, amount in ranked[:NAMED]:
        found = trace.withheld.get(agent)
        parts.append(f"{agent} {percent_text(amount)}" + (f" ({cause_text(found)})" if found is not None else ""))
    if len(ranked) > NAMED:
        parts.append(f"{len(ranked) - NAMED} more {percent_text(sum(amount for _, amount in ranked[NAMED:]))}")
    return ", ".join(parts)
