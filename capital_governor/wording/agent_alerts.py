"""The messages about single agents: faulty or silent, back, lapsed, released. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from capital_governor.core.membership import RETURN_CYCLES
from capital_governor.core.model import Agent, Publication, Rules, Snapshot
from capital_governor.core.trace import Decision
from capital_governor.wording.amounts import NAMED, count_text, largest_first, percent_text, shares_text
from capital_governor.wording.message_form import Sender, agent_word, shares_of
from capital_governor.wording.moments import duration_text, moment_text


def unwell_agents(decision: Decision, payload: Snapshot) -> dict[Agent, str]:
    """Return the agents without a good record, and what is wrong with it; empty if they sent none."""
    trace = decision.trace
    return {
        **dict.fromkeys((*trace.absent, *(agent for agent in trace.lapsed if agent not in payload.metrics)), ""),
        **payload.faults,
    }


def unwell_lines(
    unwell: Mapping[Agent, str],
    since: Mapping[Agent, float],
    decision: Decision,
    visible: Publication | None,
    now: float,
    rules: Rules,
    sender: Sender,
) -> Iterator[str]:
    """Yield the lines of the message that agents are faulty or silent, all at once.

    Args:
        unwell: these agents, and what is wrong with the record of each; empty if it is silent.
        since: since when, in seconds since 1970 UTC.
        decision: of this cycle.
        visible: what the agents see.
        now: its time.
        rules: of the cycle.
        sender: whose message this is.
    """
    shares = shares_of(visible)
    held = [agent for agent in unwell if agent in shares]
    for agent in largest_first({agent: shares.get(agent, 0) for agent in unwell})[:NAMED]:
        has = percent_text(shares[agent]) if agent in shares else "not in the fleet"
        lasts, fault = duration_text(now - since[agent]), unwell[agent]
        what = (
            f"sends faulty records, for {lasts} now: {fault.rstrip('.')}" if fault else f"has been silent for {lasts}"
        )
        yield f"{agent} ({has}) {what}."
    if len(unwell) > NAMED:
        yield f"And {len(unwell) - NAMED} more agents."
    if held:
        of_capital = percent_text(sum(shares[agent] for agent in held))
        if len(held) == 1:
            yield f"The share of {held[0]} stays and cannot rise; nobody else gets it."
        else:
            yield f"In all {of_capital} of capital. Their shares stay and cannot rise; nobody else gets them."
    if len(held) < len(unwell):
        yield "An agent that is not in the fleet is let in with its first good record."
    silent = [agent for agent in held if agent in decision.trace.absent]
    if silent:
        left = min(rules.membership_grace_cycles + 1 - decision.trace.absent[agent] for agent in silent)
        at = moment_text(now + left * sender.interval_seconds, now)
        whose = f"{silent[0]}'s share" if len(silent) == 1 else "what the silent ones have"
        if rules.release_after_cycles == 0:
            yield f"If nothing changes, others get {whose} from {at} on (RELEASE_AFTER=0)."
        else:
            yield f"If nothing changes, {whose} goes to the reserve from {at} on."
    yield f"Act: look at the log of {'this agent' if len(unwell) == 1 else 'these agents'}."


def well_text(
    back: Collection[Agent],
    since: Mapping[Agent, float],
    still: Collection[Agent],
    decision: Decision,
    visible: Publication | None,
    now: float,
    sender: Sender,
) -> Iterator[str]:
    """Yield the lines of the message that agents that were faulty or silent are no longer.

    Args:
        back: these agents.
        since: since when they were, as far as that is known.
        still: agents that the operator was told of, and that still are.
        decision: of this cycle.
        visible: what the agents see.
        now: its time.
        sender: whose message this is.
    """
    shares, lapsed = shares_of(visible), set(decision.trace.lapsed)
    ranked = largest_first({agent: shares.get(agent, 0) for agent in back})
    for agent in ranked[:NAMED]:
        known = f" after {duration_text(now - since[agent])}" if agent in since else ""
        if agent in lapsed:
            left = RETURN_CYCLES - decision.after.agents[agent].returned
            at = moment_text(now + left * sender.interval_seconds, now)
            part = percent_text(0 if visible is None else visible.plan.get(agent, 0))
            yield f"{agent} reports again{known}. If it goes on, it gets its {part} back from {at} on."
        elif agent in shares:
            yield f"{agent} reports well again{known}. Its share is {percent_text(shares[agent])}, and may rise again."
        else:
            yield f"{agent} sends good records again{known}."
    if len(ranked) > NAMED:
        yield f"And {len(ranked) - NAMED} more agents report well again."
    if still:
        yield f"Still faulty or silent: {shares_text(still, shares)}."
    yield "No action needed."


# --- lapses ----------------------------------------------------------------------------------------------------------


def lapsed_text(
    lapsed: Collection[Agent], published: Publication | None, rules: Rules, sender: Sender
) -> Iterator[str]:
    """Yield the lines of the message that agents have lapsed; ``published`` has their plan."""
    plan = {} if published is None else published.plan
    lines = {agent: plan.get(agent, 0) for agent in lapsed}
    one = len(lines) == 1
    grace = rules.membership_grace_cycles
    lasts = f" for more than {duration_text(grace * sender.interval_seconds)} ({count_text(grace, 'cycle')})"
    yield f"Lapsed, silent{lasts if grace else ''}: {shares_text(lines, lines)}."
    capital = percent_text(sum(lines.values()))
    yield f"{'Its share is' if one else 'Their shares are'} 0 now: {capital} of capital waits in the reserve."
    yield "The others stay as they are and get nothing of it."
    gets = "It gets its share" if one else "They get their shares"
    back = f"{gets} back after {RETURN_CYCLES} good records in a row"
    if rules.release_after_cycles is None:
        yield f"{back}."
    else:
        after = duration_text(rules.release_after_cycles * sender.interval_seconds)
        yield f"{back}. After {after} more of silence the others get it (RELEASE_AFTER)."
    yield f"Act: see why {'it is' if one else 'they are'} silent. Or let the others have it:"
    for agent in largest_first(lines)[:NAMED]:
        yield sender.command(f"release {agent_word(agent)}")


def back_text(returned: Collection[Agent], published: Publication | None) -> Iterator[str]:
    """Yield the lines of the message that a lapse is over."""
    plan, shares = {} if published is None else published.plan, shares_of(published)
    lines = {agent: plan.get(agent, 0) for agent in returned}
    has = sum(shares.get(agent, 0) for agent in returned)
    yield f"Reporting again after a lapse: {shares_text(lines, lines)}."
    if has == sum(lines.values()):
        yield f"{'It has its share' if len(lines) == 1 else 'They have their shares'} again. No action needed."
    else:
        yield f"Of that they have {percent_text(has)} now. The rest follows when nothing withholds it any more."
        yield "No action needed."


def released_text(released: Mapping[Agent, int]) -> Iterator[str]:
    """Yield the lines of the message that members left the fleet, by their plan lines."""
    yield f"No longer in the fleet: {shares_text(released, released)}."
    yield "The others share it out, within their limits. No action needed."


def none_lapsed_text() -> Iterator[str]:
    """Yield the lines of the message that no agent is lapsed any more, when it is not known which were."""
    yield "No agent is lapsed any more. No action needed."
