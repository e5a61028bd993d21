"""The messages about metrics, journal, files, another writer, the gate and faults of the program. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from capital_governor.core.model import WHOLE, Agent, Ppm, Publication, Snapshot, State
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision, Hold
from capital_governor.wording.amounts import change_text, count_text, percent_text
from capital_governor.wording.fetch_texts import fetch_act, fetch_problem
from capital_governor.wording.hold_alerts import now_text
from capital_governor.wording.message_form import Sender, sentence, standing_text
from capital_governor.wording.moments import after_text, duration_text, moment_text

_REPORT: Final = "It is a fault of this program: report it to its makers, with the log and with what this prints:"
_ANSWERED: Final = re.compile(r"HTTP [0-9]{3} from ")
_CODE: Final = re.compile(r" ?\(?SQLITE_[A-Z_]+\)?")

UNREACHABLE: Final = "unreachable"
ERROR: Final = "error"
STALE: Final = "stale"


def metrics_cause(unusable: Hold) -> str:
    """Return which of the three causes of lost metrics this is: ``UNREACHABLE``, ``ERROR`` or ``STALE``."""
    if unusable.reason in {Reason.PAYLOAD_STALE, Reason.PAYLOAD_FUTURE}:
        return STALE
    if unusable.reason is Reason.PAYLOAD_REFUSED or _ANSWERED.match(unusable.detail):
        return ERROR
    return UNREACHABLE


def metrics_lost(
    unusable: Hold, seconds: float, age_seconds: float | None, visible: Publication | None, sender: Sender
) -> Iterator[str]:
    """Yield the lines of the message that there have been no usable metrics.

    Args:
        unusable: why there are none.
        seconds: for how long.
        age_seconds: how old the last metrics are, below 0 if they are from the future; None if that is not known.
        visible: what the agents see.
        sender: whose message this is.
    """
    cause, lasts = metrics_cause(unusable), duration_text(seconds)
    said = sentence(fetch_problem(unusable.detail) if unusable.reason is Reason.FETCH_FAILED else unusable.detail)
    if cause == UNREACHABLE:
        yield f"Dashboard unreachable for {lasts}: {said}"
    elif cause == ERROR:
        yield f"The dashboard has answered with errors for {lasts}: {said}"
    elif age_seconds is None:
        yield f"No fresh metrics for {lasts}: {sentence(unusable.detail)}"
    elif age_seconds < 0:
        yield f"Metrics from the future for {lasts}: their time is {duration_text(-age_seconds)} ahead of this clock."
    else:
        yield f"No fresh metrics for {lasts}: those that the dashboard sends are {duration_text(age_seconds)} old."
    yield standing_text(visible)
    yield "It ends with the next fresh metrics. Until then the dashboard's pauses and risk cuts are not seen."
    if unusable.reason is Reason.FETCH_FAILED:
        yield f"Act: {fetch_act(unusable.detail)}. To test it:"
    elif cause == ERROR:
        yield "Act: see the dashboard's log, or correct NEOLIGHT_DASHBOARD_URL. To test it:"
    elif unusable.reason is Reason.PAYLOAD_FUTURE:
        yield "Act: set the clock of the machine that makes the metrics, or of this one. To test it:"
    else:
        yield "Act: the dashboard answers, but what makes its metrics has stopped: start that. To test it:"
    yield sender.command("check")


def metrics_back(seconds: float | None, decision: Decision, visible: Publication | None) -> Iterator[str]:
    """Yield the lines of the message that usable metrics come again."""
    yield f"Usable metrics again{after_text(seconds)}."
    yield now_text(decision, visible)


# --- journal and files -----------------------------------------------------------------------------------------------


def journal_lost(problem: str, days: float, sender: Sender) -> Iterator[str]:
    """Yield the lines of the message that the journal cannot be written.

    Args:
        problem: why, as the journal says it.
        days: for which it keeps entries.
        sender: whose message this is.
    """
    what, _, remedy = _CODE.sub("", problem).partition("; ")
    if "begun anew" in problem:
        yield f"The journal was damaged: {sentence(what)}"
        yield f"Set aside, and begun anew: {sentence(remedy)}"
        yield f"Lost: the history of up to {days:g} days, which is in the damaged file only."
        yield "Kept: shares, orders and holds. Governing goes on. No action needed at once."
        return
    yield f"The journal cannot be written: {sentence(what.removeprefix('the journal '))}"
    yield "Governing goes on, and both allocation files are written as before."
    yield "Kept: the history so far. New history is in memory only, and lost if the governor ends now."
    yield "Until then no order is taken; only a STOP file works."
    if remedy:
        yield f"Act: {sentence(remedy)}"
    else:
        yield "Act: see disk and permissions. The governor's own report:"
        yield sender.command("status")


def journal_back(seconds: float | None, cycles: int | None, dropped: int) -> Iterator[str]:
    """Yield the lines of the message that the journal can be written again.

    Args:
        seconds: how long it could not be; None if that is not known.
        cycles: so many were written to it from memory; None if an earlier process had them.
        dropped: so many did not fit into memory.
    """
    yield f"The journal can be written again{after_text(seconds)}."
    if cycles is None:
        yield "The cycles that an earlier process had in memory only are lost from the history."
    else:
        yield f"Written to it from memory: {count_text(cycles, 'cycle')}. Lost: {count_text(dropped, 'cycle')}."
    yield "No action needed."


def journal_conflict(problem: str, sender: Sender) -> Iterator[str]:
    """Yield the lines of the message that another program has written to the journal."""
    yield f"Another program has written to the governor's journal: {sentence(problem)}"
    yield "This cycle published nothing. The next one goes on from what is in the journal now."
    yield "Act: see whether a second governor runs on a copy or another machine, and stop one of them:"
    yield sender.command("status")


def files_lost(problem: str, visible: Publication | None, waiting: Publication | None) -> Iterator[str]:
    """Yield the lines of the message that an allocation file cannot be written."""
    yield f"An allocation file cannot be written: {sentence(problem)}"
    if visible is None:
        yield "Agents have no shares from this governor yet."
    else:
        yield f"Agents still have generation {visible.generation}: {percent_text(WHOLE - visible.reserve)} deployed."
    if waiting is not None:
        yield f"Generation {waiting.generation} is decided and waits. Nothing more is decided before it is written."
    yield "It ends with the next cycle that can write both files."
    yield "Act: see disk, permissions, and what stands in the file's place."


def files_back(seconds: float | None, visible: Publication | None) -> Iterator[str]:
    """Yield the lines of the message that both files can be written again."""
    yield f"Both allocation files can be written again{after_text(seconds)}."
    if visible is not None:
        yield f"Agents have generation {visible.generation}: {percent_text(WHOLE - visible.reserve)} deployed."
    yield "No action needed."


def rival_found(writer: str | None, policy: str) -> Iterator[str]:
    """Yield the lines of the message that another program writes the override file."""
    yield f"Another program ({writer or 'it does not say which'}) writes runtime/allocations_override.json."
    if policy == "assert":
        yield "The governor writes its shares again, once a cycle. In between, readers of that file have the other's."
    else:
        yield "The governor leaves it as it is (OVERRIDE=report): readers of that file have the other's shares."
    yield "The other file, runtime/capital_governor_allocations.json, is not concerned."
    other = "report" if policy == "assert" else "assert"
    what = "leave the file to it" if policy == "assert" else "let the governor write it"
    yield f"Act: stop that program. Or {what}: CAPITAL_GOVERNOR_OVERRIDE={other} in .env."


def rival_gone(quiet_seconds: float) -> Iterator[str]:
    """Yield the lines of the message that nobody else has written the override file for so long."""
    yield f"Nobody else has written runtime/allocations_override.json for {duration_text(quiet_seconds)}."
    yield "Agents that read it have the governor's shares. No action needed."


# --- faults of the program -------------------------------------------------------------------------------------------


def error_begins(visible: Publication | None, now: float, sender: Sender) -> Iterator[str]:
    """Yield the lines of the message that an unexpected error ended a cycle; the log has the error."""
    yield "The governor could not finish a cycle."
    yield standing_text(visible)
    yield f"The next cycle at {moment_text(now + sender.interval_seconds, now)} tries again."
    yield _REPORT
    yield sender.command("status")


def error_over(seconds: float | None, decision: Decision, visible: Publication | None) -> Iterator[str]:
    """Yield the lines of the message that cycles end without an unexpected error again."""
    yield f"The governor finishes its cycles again{after_text(seconds)}."
    yield now_text(decision, visible)


def gate_refuses(
    decision: Decision, refused: Publication | None, before: State, payload: Snapshot | None, sender: Sender
) -> Iterator[str]:
    """Yield the lines of the message that the gate refused a proposal.

    Args:
        decision: the refused decision.
        refused: what it would have published.
        before: the state before.
        payload: of the cycle; None if it could not be used.
        sender: whose message this is.
    """
    yield f"A wrong decision was stopped before it was published: {_WRONG[decision.reason]}."
    if refused is not None:
        yield from _figures(decision, refused, before, payload)
    yield standing_text(before.published)
    yield "The next cycle decides anew."
    yield _REPORT
    yield sender.command("explain")


def gate_passes(seconds: float | None, decision: Decision, visible: Publication | None) -> Iterator[str]:
    """Yield the lines of the message that decisions pass the gate again."""
    yield f"Decisions pass their last check again{after_text(seconds)}."
    yield now_text(decision, visible)


_WRONG: Final[Mapping[Reason, str]] = {
    Reason.GATE_SUM: "shares and reserve do not add up",
    Reason.GATE_EXPOSURE: "more would be deployed than exposure allows",
    Reason.GATE_LIMIT: "a share would be above its limit",
    Reason.GATE_FAULTY_GAIN: "a faulty or silent agent would gain",
    Reason.GATE_MULTIPLIER: "exposure would be above what market, drawdown or orders allow",
    Reason.GATE_STRANGER: "an agent that is lapsed or no member would get a share",
    Reason.GATE_RISE: "a share would rise although nothing may",
    Reason.GATE_FORBIDDEN: "nothing may move now",
    Reason.GATE_GENERATION: "its number is not the next",
}


def _figures(decision: Decision, refused: Publication, before: State, payload: Snapshot | None) -> Iterator[str]:
    """Yield the figure that is wrong, and whose it is."""
    old = {} if before.published is None else before.published.shares
    deployed = sum(refused.shares.values())
    if decision.reason is Reason.GATE_SUM:
        yield f"Shares add up to {percent_text(deployed)}, and the reserve is {percent_text(refused.reserve)}."
    elif decision.reason in {Reason.GATE_EXPOSURE, Reason.GATE_MULTIPLIER}:
        yield f"It would deploy {percent_text(deployed)} at an exposure of {percent_text(refused.exposure)}."
    elif decision.reason is Reason.GATE_GENERATION:
        yield f"It has generation {refused.generation}, and {before.generation} was the last."
    else:
        worst = _worst(decision, refused, old, payload)
        if worst is not None:
            limit = decision.trace.limits.get(worst)
            most = ""
            if decision.reason is Reason.GATE_LIMIT and limit is not None:
                most = f", and its limit is {percent_text(limit.hi * refused.exposure)}"
            yield f"{worst}: {change_text(old.get(worst, 0), refused.shares[worst])}{most}."


def _worst(
    decision: Decision, refused: Publication, old: Mapping[Agent, Ppm], payload: Snapshot | None
) -> Agent | None:
    """Return the agent whose share is most wrong."""
    over: dict[Agent, float] = {agent: share - old.get(agent, 0) for agent, share in refused.shares.items()}
    if decision.reason is Reason.GATE_LIMIT:
        limits = decision.trace.limits
        over = {
            agent: share - (limits[agent].hi if agent in limits else 0.0) * refused.exposure * WHOLE
            for agent, share in refused.shares.items()
        }
    elif decision.reason is Reason.GATE_FAULTY_GAIN:
        good = {} if payload is None else payload.metrics
        over = {agent: gain for agent, gain in over.items() if agent not in good}
    elif decision.reason is Reason.GATE_STRANGER:
        members = {agent for agent, memory in decision.after.agents.items() if memory.member and not memory.lapsed}
        over = {agent: refused.shares[agent] for agent in over if agent not in members}
    return max(sorted(over), key=lambda agent: over[agent], default=None)
