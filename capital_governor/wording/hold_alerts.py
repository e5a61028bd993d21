"""The messages about holds, at their beginning and end: cause, capital, what ends it, what to do. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from capital_governor.core.model import WHOLE, Agent, Inputs, Publication, Rules, Snapshot
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision
from capital_governor.wording.amounts import names_text, percent_text
from capital_governor.wording.message_form import NO_ACTION, Sender, sentence, shares_of, standing_text
from capital_governor.wording.moments import after_text, moment_text

HOLD_NAMES: Final[Mapping[Reason, str]] = {
    Reason.STOPPED: "STOP file",
    Reason.PAUSED: "Guardian's pause",
    Reason.OPERATOR_HOLD: "operator's hold",
    Reason.FILES_UNWRITABLE: "files that cannot be written",
    Reason.FETCH_FAILED: "no answer from the dashboard",
    Reason.PAYLOAD_REFUSED: "metrics that cannot be used",
    Reason.PAYLOAD_STALE: "stale metrics",
    Reason.PAYLOAD_FUTURE: "metrics with a time in the future",
    Reason.GUARDIAN_LOST: "Guardian's data missing",
    Reason.TIMESTAMP_LOST: "time stamp missing",
    Reason.NO_AGENTS: "no agents",
    Reason.FAULTY_MAJORITY: "most agents faulty",
    Reason.MEMBERS_GONE: "half of the fleet silent",
    Reason.INTERNAL_ERROR: "fault of the program",
}
"""Each hold in a few words."""

STOP_FILE: Final = "runtime/capital_governor.STOP"
PAUSE_FILE: Final = "state/guardian_pause.json"


def unwell_in_hold(decision: Decision) -> tuple[Agent, ...]:
    """Return the members because of which a cycle holds."""
    trace, hold = decision.trace, decision.trace.hold
    reason = None if hold is None else hold.reason
    if reason is Reason.MEMBERS_GONE:
        excused = decision.after.latches.accepted
        return tuple(agent for agent, cycles in trace.absent.items() if cycles == 0 and agent not in excused)
    if reason is Reason.FAULTY_MAJORITY:
        return tuple(trace.faulty)
    return (*trace.faulty, *trace.absent) if reason is Reason.NO_AGENTS else ()


def cycles_until_lapse(decision: Decision, rules: Rules) -> int:
    """Return after how many more cycles of MEMBERS_GONE the silent agents lapse."""
    grace = rules.membership_grace_cycles
    return 4 * max(1, grace) - decision.after.latches.gone_cycles + grace + 1


@dataclass(frozen=True, slots=True)
class SeenCycle:
    """A cycle, for the messages about its holds: what was decided on what, what the agents see, whose messages."""

    decision: Decision
    inputs: Inputs
    visible: Publication | None
    rules: Rules
    sender: Sender


def hold_begins(reason: Reason, seen: SeenCycle) -> list[str]:
    """Return the lines of the message that a hold begins, in this cycle; it may be behind another hold."""
    inputs, visible, sender = seen.inputs, seen.visible, seen.sender
    stays = standing_text(visible)
    if reason is Reason.STOPPED:
        return [
            "STOP file found: nothing is published any more, not even a cut that a person orders.",
            stays,
            f"{NO_ACTION} It ends when the file is removed. To do so:",
            f"rm {shlex.quote(f'{sender.root}/{STOP_FILE}')}",
        ]
    if reason is Reason.PAUSED:
        return [_pause(inputs), stays, *_pause_end(inputs, sender)]
    if reason is Reason.OPERATOR_HOLD:
        return [*_operator_hold(inputs), stays, *_operator_hold_end(inputs, sender)]
    if reason is Reason.GUARDIAN_LOST:
        return [
            "The dashboard no longer sends Guardian's data: pauses and drawdowns are not seen.",
            stays,
            "It ends when they are back.",
            "Act: see why the dashboard leaves it out. Or go on without it, which then counts as NOT PAUSED:",
            sender.command("accept"),
        ]
    if reason is Reason.TIMESTAMP_LOST:
        return [
            "The dashboard no longer sends the time of its metrics: old ones could pass for new.",
            stays,
            "It ends when the time stamp is back.",
            "Act: see why the dashboard leaves it out. Or go on without it, which then counts as fresh:",
            sender.command("accept"),
        ]
    return list(_agents_hold(reason, seen))


def _pause(inputs: Inputs) -> str:
    file, payload = inputs.pause, inputs.payload
    guardian = payload.guardian if isinstance(payload, Snapshot) else None
    if file is not None and file.problem:
        return f"The pause file cannot be read, which counts as a pause: {sentence(file.problem)}"
    said = file.reason if file is not None and file.paused else ""
    if not said and guardian is not None and guardian.is_paused:
        said = guardian.reason
    return f"Guardian paused: {sentence(said or 'no reason given')}"


def _pause_end(inputs: Inputs, sender: Sender) -> Iterator[str]:
    file = inputs.pause
    if file is not None and file.problem:
        yield f"Act: repair or remove {sender.root}/{PAUSE_FILE}"
        return
    until = ""
    if file is not None and file.paused and file.until is not None:
        until = f" The file says until {moment_text(file.until, inputs.now)}."
    yield f"It ends when Guardian lifts the pause, in file and dashboard.{until} {NO_ACTION}"


def _operator_hold(inputs: Inputs) -> Iterator[str]:
    held = inputs.hold
    if held is not None:
        yield f"{held.author} holds all shares" + (f": {sentence(held.reason)}" if held.reason else ".")


def _operator_hold_end(inputs: Inputs, sender: Sender) -> Iterator[str]:
    held = inputs.hold
    if held is not None and held.until is not None:
        yield f"{NO_ACTION} It ends at {moment_text(held.until, inputs.now)}. To end it now:"
    else:
        yield f"{NO_ACTION} It ends when a person lifts it:"
    yield sender.command("resume")


def _agents_hold(reason: Reason, seen: SeenCycle) -> Iterator[str]:
    decision, inputs, visible, rules, sender = seen.decision, seen.inputs, seen.visible, seen.rules, seen.sender
    shares, unwell = shares_of(visible), unwell_in_hold(decision)
    of_capital = percent_text(sum(shares.get(agent, 0) for agent in unwell))
    who, stays = names_text(unwell, shares), standing_text(visible)
    if reason is Reason.MEMBERS_GONE:
        yield f"{who} ({of_capital} of capital) stopped reporting at once."
        yield stays
        at = moment_text(inputs.now + cycles_until_lapse(decision, rules) * sender.interval_seconds, inputs.now)
        yield _if_nothing_changes(at, of_capital, rules)
        yield "Act: see why they are silent. Or go on without them, and give their part to the others:"
    elif reason is Reason.FAULTY_MAJORITY:
        yield f"Most agents send faulty records: {who}" + (f" ({of_capital} of capital)." if visible else ".")
        yield from _faults(decision)
        yield stays
        yield "It ends with the next metrics in which most records are good."
        yield "Act: see what sends them. Or let the good ones move while the faulty ones keep their shares:"
    else:
        yield "The dashboard sends no agents."
        yield stays
        yield "It ends when an agent reports again."
        if visible is None:
            yield "Act: see why none reports to the dashboard."
            return
        yield "Act: see why none reports. Or give up waiting; their shares then go to the reserve:"
    yield sender.command("accept")


def _if_nothing_changes(at: str, of_capital: str, rules: Rules) -> str:
    if rules.release_after_cycles == 0:
        return f"If nothing changes, at {at} their {of_capital} is shared out among the others (RELEASE_AFTER=0)."
    return f"If nothing changes, at {at} their {of_capital} goes to the reserve; the others stay as they are."


def _faults(decision: Decision) -> Iterator[str]:
    """Yield what is wrong with the records, where it is the same for all or there is only one."""
    found = set(decision.trace.faulty.values())
    if found:
        first = min(found)
        yield f"For instance: {first}." if len(found) > 1 else f"Each: {first}."


# --- the end ---------------------------------------------------------------------------------------------------------


def hold_over(reason: Reason, seconds: float | None, ended: Sequence[Order], seen: SeenCycle) -> list[str]:
    """Return the lines of the message that a hold is over: how long it lasted, what ended it, what holds now.

    Args:
        reason: of the hold.
        seconds: how long it lasted; None if that is not known.
        ended: the operator's orders that have ended since the cycle before.
        seen: the cycle in which it is over.
    """
    decision, inputs, visible = seen.decision, seen.inputs, seen.visible
    after = after_text(seconds)
    accept = next((each for each in ended if _used_for(each, reason)), None)
    if accept is not None:
        return [*_accepted(accept, reason, decision, visible), now_text(decision, visible)]
    if reason is Reason.STOPPED:
        line = f"The STOP file was removed{after}."
    elif reason is Reason.PAUSED:
        file = inputs.pause
        ran_out = file is not None and file.paused and file.until is not None and file.until <= inputs.now
        line = f"Guardian's pause {'ran out' if ran_out else 'ended'}{after}."
    elif reason is Reason.OPERATOR_HOLD:
        line = _lifted(ended, after)
    elif reason is Reason.GUARDIAN_LOST:
        line = f"Guardian's data are back{after}."
    elif reason is Reason.TIMESTAMP_LOST:
        line = f"The metrics have their time stamp again{after}."
    elif reason is Reason.MEMBERS_GONE and decision.trace.absent:
        now = now_text(decision, visible).removesuffix(NO_ACTION).rstrip()
        return [*_still_silent(after, seen), now, "Act: see why they are silent."]
    else:
        line = f"{_BACK.get(reason, HOLD_NAMES[reason])}{after}."
    return [line, now_text(decision, visible)]


def _still_silent(after: str, seen: SeenCycle) -> Iterator[str]:
    decision, inputs, visible, rules, sender = seen.decision, seen.inputs, seen.visible, seen.rules, seen.sender
    silent, shares = decision.trace.absent, shares_of(visible)
    of_capital = percent_text(sum(shares.get(agent, 0) for agent in silent))
    yield f"Still silent{after}: {names_text(silent, shares)} ({of_capital} of capital). The hold for them is over."
    left = rules.membership_grace_cycles + 1 - min(silent.values())
    yield _if_nothing_changes(moment_text(inputs.now + left * sender.interval_seconds, inputs.now), of_capital, rules)


_BACK: Final[Mapping[Reason, str]] = {
    Reason.MEMBERS_GONE: "The silent agents report again",
    Reason.FAULTY_MAJORITY: "Most records are good again",
    Reason.NO_AGENTS: "Agents report again",
}


def _used_for(order: Order, reason: Reason) -> bool:
    return order.kind is OrderKind.ACCEPT and order.end is OrderEnd.USED and order.accepts == reason.value


def _accepted(accept: Order, reason: Reason, decision: Decision, visible: Publication | None) -> Iterator[str]:
    if reason is Reason.GUARDIAN_LOST:
        yield f"{accept.author} accepted: the dashboard no longer sends Guardian's data."
        yield "From now on that counts as NOT PAUSED until they return."
    elif reason is Reason.TIMESTAMP_LOST:
        yield f"{accept.author} accepted: the dashboard no longer sends the time of its metrics."
        yield "From now on they count as fresh until it returns."
    else:
        shares, agents = shares_of(visible), decision.after.latches.accepted
        of_capital = percent_text(sum(shares.get(agent, 0) for agent in agents))
        yield f"{accept.author} accepted: {names_text(agents, shares)} ({of_capital} of capital) without a good record."
        yield "None of them may gain until it has a good record."
        if any(agent in decision.trace.absent for agent in agents):
            yield "The silent ones leave the fleet when their grace is over; the others share their part out."


def _lifted(ended: Sequence[Order], after: str) -> str:
    order = next((each for each in ended if each.kind is OrderKind.HOLD), None)
    if order is None:
        return f"The operator's hold is over{after}."
    if order.end is None:
        return f"{order.author}'s hold expired{after}."
    return f"{order.author}'s hold was lifted by {order.ended_by}{after}."


def now_text(decision: Decision, visible: Publication | None) -> str:
    """Return what holds now, another hold or none, and that nothing is to be done."""
    hold = decision.trace.hold
    if hold is not None:
        return f"Still on hold: {HOLD_NAMES[hold.reason]}. This message needs no action."
    if visible is None:
        return f"Governing again. {NO_ACTION}"
    reserve = visible.reserve
    return f"Governing again: {percent_text(WHOLE - reserve)} deployed, {percent_text(reserve)} in reserve. {NO_ACTION}"
