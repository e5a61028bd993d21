"""The messages about moves, cuts and restores: the shares, the cause, what comes next. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from capital_governor.core.model import (
    EVERYBODY,
    OPERATOR,
    RESERVE,
    WHOLE,
    Agent,
    Inputs,
    Ppm,
    Publication,
    Rules,
    State,
)
from capital_governor.core.reason import CUTS, MOVES, Reason
from capital_governor.core.trace import Decision, Trigger, WithheldBy
from capital_governor.wording.amounts import NAMED, change_text, names_text, percent_text, shares_text
from capital_governor.wording.exposure_texts import NOTHING, cause_in_cycle
from capital_governor.wording.hold_alerts import HOLD_NAMES
from capital_governor.wording.message_form import (
    LONGEST_LINE,
    LONGEST_MESSAGE,
    NO_ACTION,
    Sender,
    agent_word,
    shortened,
    units,
)
from capital_governor.wording.moments import minute_text, moment_text
from capital_governor.wording.withheld_texts import cause_text, withheld_text

FIRST_LINE: Final = "🎯 Capital Reallocation:"
_SAME: Final = 0.002
"""Shares that all change by the same ratio to within this part were scaled; each is rounded to a millionth."""
_SMALLEST: Final = 1_000
"""Shares below 0.1 % say nothing about that ratio."""


def has_notice(decision: Decision, before: State) -> bool:
    """Return whether the operator gets a message about what this decision publishes.

    Not if no share changes, only what is withheld; nor about a step of MAX_STEP on the way to a whole restore, whose
    last step is told. The log has both.
    """
    new, old = decision.proposal, before.published
    if new is None:
        return False
    if old is None:
        return True
    if new.shares == old.shares:
        return False
    if decision.reason is not Reason.RESTORE:
        return True
    risen = [agent for agent, share in new.shares.items() if share > old.shares.get(agent, 0)]
    withheld = decision.trace.withheld
    return not all(agent in withheld and withheld[agent].by is WithheldBy.STEP for agent in risen)


def telegram_text(decision: Decision, before: State, rules: Rules, inputs: Inputs, sender: Sender) -> str:
    """Return the message about a move, cut or restore, in at most LONGEST_MESSAGE units.

    A line for each agent by falling share, one for the reserve, then the cause, what is withheld, what comes next, and
    fleet and time. Of a fleet that does not fit, the smallest shares are added up in one line.
    """
    new = decision.proposal
    if new is None:
        raise ValueError(f"a decision that publishes nothing is no move: {decision.reason}")
    tail = list(_causes(decision, new, before.published, inputs))
    if new.withheld.keys() - set(_cut_besides(decision, new, before.published)[:NAMED]):
        tail.append(f"Withheld, in the reserve: {withheld_text(new, decision.trace)}")
    tail += [*_next(decision, new, before, rules, inputs, sender), _signature(new, sender)]
    return _shares_message(FIRST_LINE, new, before.published, tail)


def taken_back_text(given_up: Publication, visible: Publication | None, now: float, sender: Sender) -> str:
    """Return the message that a move or cut of which the operator was told is abandoned.

    Args:
        given_up: what no agent has, and never will.
        visible: what the agents have instead; None: nothing of this governor's.
        now: when it was given up, in seconds since 1970 UTC.
        sender: whose message this is.
    """
    head = (
        f"↩️ Capital Reallocation taken back: generation {given_up.generation} of {minute_text(given_up.at)} is not in"
        " force"
    )
    why = [
        "It never reached the agents, and is too old to be published now. The next cycle decides anew.",
        "No action needed.",
        f"{sender.fleet} · {minute_text(now)}",
    ]
    if visible is None:
        return "\n".join([f"{head}. Agents have no shares from this governor yet.", *why])
    return _shares_message(f"{head}. Agents have:", visible, visible, why)


def _shares_message(head: str, published: Publication, before: Publication | None, tail: list[str]) -> str:
    """Return head, a line per agent by falling share, the reserve, and tail, in at most LONGEST_MESSAGE units."""
    ranked = sorted(published.shares.items(), key=lambda item: (-item[1], item[0]))
    old = None if before is None else before.shares
    tail = [shortened(line, LONGEST_LINE) for line in tail if line]
    if published.reserve or (before is not None and before.reserve):
        tail.insert(0, _line("Reserve", published.reserve, None if before is None else before.reserve))
    share_lines = [
        _line(agent, share, None if old is None else old.get(agent), is_new=old is not None and agent not in old)
        for agent, share in ranked
    ]
    lines, room = [head], LONGEST_MESSAGE - units(head, *tail)
    if units(*share_lines) > room:
        room -= units(f"... and {len(ranked)} more: 100.0%")
    for place, line in enumerate(share_lines):
        room -= units(line)
        if room < 0:
            rest = ranked[place:]
            lines.append(f"... and {len(rest)} more: {_figure(sum(share for _, share in rest))}")
            break
        lines.append(line)
    return "\n".join(lines + tail)


def _line(name: str, share: Ppm, before: Ppm | None, *, is_new: bool = False) -> str:
    shown = _figure(share)
    was = " (new)" if is_new else ""
    if before is not None and _figure(before) != shown:
        was = f" (was {_figure(before)})"
    return f"{name}: {shown}{was}"


def _figure(share: Ppm) -> str:
    return f"{100 * share / WHOLE:.1f}%"


def _signature(published: Publication, sender: Sender) -> str:
    return f"{sender.fleet} · {minute_text(published.at)} · generation {published.generation}"


# --- the cause -------------------------------------------------------------------------------------------------------


def _causes(decision: Decision, new: Publication, old: Publication | None, inputs: Inputs) -> Iterator[str]:
    """Yield why this is published: what changed exposure, then who came, left or changed otherwise."""
    cause = cause_in_cycle(decision, inputs)
    deployed = WHOLE - new.reserve
    if old is None:
        yield f"First allocation: nothing was published before. Deployed {percent_text(deployed)}."
        if new.exposure < 1.0:
            yield f"Exposure is {percent_text(new.exposure)}: {cause}."
        return
    parts = []
    if new.exposure < old.exposure:
        parts.append(f"Risk cut: {cause}.")
    elif new.exposure > old.exposure:
        parts.append(f"More may be deployed: {_only(cause)}.")
    if deployed != WHOLE - old.reserve:
        parts.append(f"Deployed {change_text(WHOLE - old.reserve, deployed)}.")
    scale = _scale(new, old)
    if scale is not None and new.exposure != old.exposure:
        parts.append(_scale_text(scale))
    yield " ".join(parts)
    if decision.reason in MOVES:
        yield from _move_causes(decision, new, old, scaled=scale is not None)
    else:
        yield from _cut_causes(decision, new, old)


def _only(cause: str) -> str:
    return "nothing reduces exposure any more" if cause == NOTHING else f"now {cause}"


def _scale(new: Publication, old: Publication) -> float | None:
    """Return the ratio by which all shares were scaled; None if not all were by the same."""
    if new.shares.keys() != old.shares.keys():
        return None
    ratios = [new.shares[agent] / share for agent, share in old.shares.items() if share >= _SMALLEST]
    if not ratios or max(ratios) - min(ratios) > _SAME * max(ratios):
        return None
    return sum(new.shares.values()) / max(1, sum(old.shares.values()))


def _scale_text(scale: float) -> str:
    if scale == 0.0:
        return "All capital is in the reserve."
    if abs(scale - 0.5) <= _SAME:
        return "Each share halved."
    if abs(scale - 2.0) <= _SAME:
        return "Each share doubled."
    return "All shares fall in proportion." if scale < 1.0 else "All shares rise in proportion."


def _move_causes(decision: Decision, new: Publication, old: Publication, *, scaled: bool) -> Iterator[str]:
    left = {agent: line for agent, line in old.plan.items() if agent not in new.shares}
    joined = {agent: share for agent, share in new.shares.items() if agent not in old.shares}
    if left:
        yield f"No longer in the fleet: {shares_text(left, left)}. The others share it out."
    if joined:
        yield f"New in the fleet: {shares_text(joined, joined)}."
    if scaled or left or joined:
        return
    fired = next((trigger for trigger in decision.trace.triggers if trigger.fired), None)
    by_exposure = fired is not None and fired.subject == RESERVE and new.exposure != old.exposure
    if fired is not None and not by_exposure:
        yield from _trigger_text(fired, new, old)


def _trigger_text(fired: Trigger, new: Publication, old: Publication) -> Iterator[str]:
    """Yield why a move was made that neither exposure nor members explain."""
    needed = percent_text(fired.limit)
    if fired.reason is Reason.LIMIT_BREACHED:
        yield f"{fired.subject} had more than its limit: {change_text(fired.value, fired.limit)}."
    elif fired.reason is Reason.BELOW_FLOOR:
        yield f"{fired.subject} had less than its floor: {change_text(fired.value, fired.limit)}."
    elif fired.reason is Reason.TURNOVER:
        yield f"Scores changed: {percent_text(fired.value)} of capital changes hands; {needed} is enough for a move."
    elif fired.subject == RESERVE:
        yield f"The reserve changes by {percent_text(fired.value)}; {needed} is enough for a move."
    elif fired.reason is Reason.THRESHOLD:
        was, now = old.plan.get(fired.subject, 0), new.plan.get(fired.subject, 0)
        yield f"Scores changed. Largest change: {fired.subject} {change_text(was, now)}; {needed} is enough for a move."


def _cut_causes(decision: Decision, new: Publication, old: Publication) -> Iterator[str]:
    """Yield whose shares a cut lowered besides exposure, or a restore raised, and what withholds the rest."""
    risen = [agent for agent, share in new.shares.items() if share > old.shares.get(agent, 0)]
    cut = _cut_besides(decision, new, old)
    for agent in cut[:NAMED]:
        found = decision.trace.withheld[agent]
        change = change_text(old.shares.get(agent, 0), new.shares[agent])
        cause = _SENTENCES.get(found.by, cause_text(found))
        yield f"{agent} {change}: {cause}. {percent_text(found.amount)} waits in the reserve."
    if len(cut) > NAMED:
        yield f"Cut as well: {len(cut) - NAMED} more."
    if risen:
        together = " together" if len(risen) > 1 else ""
        sums = change_text(sum(old.shares[agent] for agent in risen), sum(new.shares[agent] for agent in risen))
        yield f"Given back what was withheld: {names_text(risen, new.shares)} {sums}{together}."


_SENTENCES: Final[Mapping[WithheldBy, str]] = {
    WithheldBy.LAPSED: "silent for too long",
    WithheldBy.NO_MEMBER: "it is no longer in the fleet",
    WithheldBy.LIMIT: "it was above its upper limit",
    WithheldBy.GROUP: "its group was above its cap",
}


def _cut_besides(decision: Decision, new: Publication, old: Publication | None) -> list[Agent]:
    """Return the agents from which a cut withholds more than before, the largest changes first."""
    if old is None or decision.reason in MOVES:
        return []
    withheld = decision.trace.withheld
    more = [agent for agent, kept in new.withheld.items() if agent in withheld and kept > old.withheld.get(agent, 0)]
    return sorted(more, key=lambda agent: (new.shares[agent] - old.shares.get(agent, 0), agent))


# --- what comes next -------------------------------------------------------------------------------------------------


def _next(
    decision: Decision, new: Publication, before: State, rules: Rules, inputs: Inputs, sender: Sender
) -> Iterator[str]:
    now, old = new.at, before.published
    hold = decision.trace.hold
    if hold is not None:
        yield f"Still on hold ({HOLD_NAMES[hold.reason]}): until that is over, shares can only fall."
    elif decision.reason in CUTS and old is not None and new.exposure < old.exposure:
        yield "Shares rise again with the next move, once the cause is over."
    cooling = next((brake for brake in decision.trace.brakes if brake.active), None)
    if cooling is not None and cooling.reason is Reason.COOLDOWN:
        ends = moment_text(now + cooling.limit - cooling.value, now)
        yield f"The cool-down lets shares move again from {ends} on."
    elif decision.reason in MOVES and rules.cooldown_seconds > 0:
        yield f"The cool-down lets shares move again from {moment_text(now + rules.cooldown_seconds, now)} on."
    if decision.reason is Reason.CUT_LAPSE:
        yield "The next message says what can be done."
        return
    orders = _lifts(decision, inputs, sender)
    if orders:
        yield from orders
    else:
        yield f"{NO_ACTION} Next decision at {moment_text(now + sender.interval_seconds, now)}."


def _lifts(decision: Decision, inputs: Inputs, sender: Sender) -> list[str]:
    """Return how the operator's own orders that this cut obeys are taken back."""
    if decision.reason is Reason.CUT_CEILING and decision.trace.exposure_by == OPERATOR:
        return [f"{NO_ACTION} To lift the order:", sender.command("exposure --lift")]
    if decision.reason is not Reason.CUT_LIMIT:
        return []
    capped = [agent for agent, held in decision.trace.withheld.items() if held.by is WithheldBy.CAP]
    whose = dict.fromkeys(_whose_cap(agent, inputs) for agent in sorted(capped))
    if len(whose) > NAMED:
        return [f"{NO_ACTION} To see the orders:", sender.command("limits")]
    head = f"{NO_ACTION} To take the order{'' if len(whose) == 1 else 's'} back:"
    return [head, *(sender.command(f"unlimit {agent_word(name)}") for name in whose)] if whose else []


def _whose_cap(agent: Agent, inputs: Inputs) -> Agent:
    """Return for whom the order was given that caps an agent: for it alone, or for all."""
    caps = [
        (limit.cap, limit.agent)
        for limit in inputs.limits
        if limit.cap is not None and limit.in_force(inputs.now) and limit.agent in {agent, EVERYBODY}
    ]
    return min(caps, default=(0.0, agent))[1]
