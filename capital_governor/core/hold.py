"""Holds: whether a decision may be taken now, and if not, why and what ends that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from capital_governor.core.membership import Attendance, attendance_of, leaves
from capital_governor.core.model import (
    FUTURE_TOLERANCE_SECONDS,
    Agent,
    Guardian,
    Inputs,
    Latches,
    Refusal,
    Rules,
    Snapshot,
    State,
    signed,
)
from capital_governor.core.reason import AGENT_HOLDS, Reason
from capital_governor.core.trace import Hold

EXITS: Final[Mapping[Reason, str]] = {
    Reason.STOPPED: "remove runtime/capital_governor.STOP",
    Reason.PAUSED: "payload and state/guardian_pause.json both say not paused, in a fresh complete payload",
    Reason.OPERATOR_HOLD: "the hold's expiry, or `capital-governor resume`",
    Reason.FILES_UNWRITABLE: "the next cycle that finds both files writable",
    Reason.FETCH_FAILED: "the next good payload",
    Reason.PAYLOAD_REFUSED: "the next good payload: see the dashboard's log, or correct NEOLIGHT_DASHBOARD_URL",
    Reason.PAYLOAD_STALE: "the next fresh payload",
    Reason.PAYLOAD_FUTURE: "the next payload whose time stamp is not in the future",
    Reason.GUARDIAN_LOST: "the guardian block returns, or `capital-governor accept`",
    Reason.TIMESTAMP_LOST: "the time stamp returns, or `capital-governor accept`",
    Reason.NO_AGENTS: "the next payload with agents: let one report there, or, where members are published, "
    "`capital-governor accept`",
    Reason.FAULTY_MAJORITY: "the next payload with more good records, or `capital-governor accept`",
    Reason.MEMBERS_GONE: "they report again, or `capital-governor accept`, or 4 x MEMBERSHIP_GRACE cycles (at least 4) "
    "pass; whoever is silent even then lapses when its grace is over",
    Reason.INTERNAL_ERROR: "the next cycle that ends without an unexpected error",
}
"""What ends each hold, in words for the operator."""

CAUSES: Final[Mapping[Reason, str]] = {
    Reason.STOPPED: "The file `runtime/capital_governor.STOP` exists. Neither allocation file is written, not even to "
    "repair it.",
    Reason.PAUSED: "Guardian has paused the fleet, in the payload or in `state/guardian_pause.json` (until its "
    "`until`); or that file cannot be read. Neither allocation file is written, not even to repair it, but for a cut "
    "that a person orders.",
    Reason.OPERATOR_HOLD: "An operator ordered it with `capital-governor hold`.",
    Reason.FILES_UNWRITABLE: "A folder or something else that is no file stands where an allocation file belongs, or "
    "the disk refuses to write the primary. The last decision waits, nothing more is decided, and no move is reported "
    "that agents cannot see. If only the override cannot be written, that is reported too, but it does not hold.",
    Reason.FETCH_FAILED: "The dashboard or hive did not answer with HTTP 200 within `FETCH_DEADLINE`, in up to three "
    "attempts. The text names the cause and what to do about it.",
    Reason.PAYLOAD_REFUSED: "The answer is an error message, not JSON, of another schema or too long, or has an "
    "impossible value for guardian or regime.",
    Reason.PAYLOAD_STALE: "The payload's time stamp is older than `MAX_AGE`: the dashboard answers, but what produces "
    "its metrics has stopped.",
    Reason.PAYLOAD_FUTURE: "The payload's time stamp is more than 60 s ahead of this machine's clock.",
    Reason.GUARDIAN_LOST: "Payloads had a guardian block before, and this one has none.",
    Reason.TIMESTAMP_LOST: "Payloads had a time stamp before, and this one has none.",
    Reason.NO_AGENTS: "The payload has no agents.",
    Reason.FAULTY_MAJORITY: "More than half of the agents have a faulty record.",
    Reason.MEMBERS_GONE: "Half or more of the members are missing from the payload at once.",
    Reason.INTERNAL_ERROR: "The cycle ended with an unexpected error; the log has its traceback.",
}
"""What each hold means, for the manual."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of ``judge``.

    Args:
        hold: why nothing may be decided; None if a decision may be taken.
        latches: the new state of the holds.
        unusable: the hold that the payload alone would cause, also behind an earlier one.
        attendance: which members are present, faulty or absent; None without a usable payload.
        accepted: what an operator's ``accept`` let pass in this cycle.
    """

    hold: Hold | None
    latches: Latches
    unusable: Hold | None = None
    attendance: Attendance | None = None
    accepted: tuple[str, ...] = ()


def judge(inputs: Inputs, state: State, rules: Rules) -> Verdict:
    """Return whether a decision may be taken now.

    The order is: STOP, Guardian's pause, the operator's hold, the files, the payload, lost blocks, the agents. The
    latches for pause and blocks are updated under every hold. The cycles of MEMBERS_GONE are only counted, and reset,
    where no earlier hold applies.
    """
    problem = _payload_problem(inputs, state.latches, rules)
    latches, accepted = _watch_blocks(inputs, state.latches, problem)
    paused = _pause(inputs, state.latches, problem)
    latches = replace(latches, paused=paused is not None)
    if inputs.stopped:
        return Verdict(Hold(Reason.STOPPED, "the STOP file exists"), latches, problem, accepted=accepted)
    if paused is not None:
        return Verdict(paused, latches, problem, accepted=accepted)
    if inputs.hold is not None and _runs(inputs.hold.until, inputs.now):
        said = signed(inputs.hold.author, inputs.hold.until, inputs.hold.reason)
        held = Hold(Reason.OPERATOR_HOLD, f"held {said}")
        return Verdict(held, latches, problem, accepted=accepted)
    if inputs.files_problem:
        return Verdict(Hold(Reason.FILES_UNWRITABLE, inputs.files_problem), latches, problem, accepted=accepted)
    if problem is not None or isinstance(inputs.payload, Refusal):
        return Verdict(problem, latches, problem, accepted=accepted)
    return _judge_agents(inputs, inputs.payload, state, rules, latches, accepted)


def _payload_problem(inputs: Inputs, latches: Latches, rules: Rules) -> Hold | None:
    """Return why this payload cannot be used; None if it can."""
    payload = inputs.payload
    if isinstance(payload, Refusal):
        return Hold(payload.reason, payload.detail)
    if payload.at is not None:
        age = inputs.now - payload.at
        if age > rules.max_age_seconds:
            note = f": {payload.at_note}" if payload.at_note else ""
            limit = rules.max_age_seconds
            return Hold(Reason.PAYLOAD_STALE, f"the payload is {age:.0f} s old, more than {limit:.0f} s{note}")
        if age < -FUTURE_TOLERANCE_SECONDS:
            return Hold(Reason.PAYLOAD_FUTURE, f"the payload's time stamp is {-age:.0f} s in the future")
    if payload.guardian is None and latches.guardian_seen and not inputs.accepts(Reason.GUARDIAN_LOST):
        return Hold(Reason.GUARDIAN_LOST, "the payload has no guardian block, and once had one")
    if payload.at is None and latches.timestamp_seen and not inputs.accepts(Reason.TIMESTAMP_LOST):
        return Hold(Reason.TIMESTAMP_LOST, "the payload has no time stamp, and once had one")
    return None


def _watch_blocks(inputs: Inputs, latches: Latches, problem: Hold | None) -> tuple[Latches, tuple[str, ...]]:
    """Remember which blocks readable payloads had; an accepted loss is forgotten, so that it causes no new hold."""
    payload = inputs.payload
    if isinstance(payload, Refusal):
        return latches, ()
    # The guardian block is checked before the time stamp: if the latter is the problem, the former has passed.
    passed = problem is None or problem.reason is Reason.TIMESTAMP_LOST
    guardian_seen = payload.guardian is not None or (latches.guardian_seen and not passed)
    timestamp_seen = payload.at is not None or (latches.timestamp_seen and problem is not None)
    accepted = []
    if latches.guardian_seen and not guardian_seen:
        accepted.append("guardian block")
    if latches.timestamp_seen and not timestamp_seen:
        accepted.append("time stamp")
    return replace(latches, guardian_seen=guardian_seen, timestamp_seen=timestamp_seen), tuple(accepted)


def _pause(inputs: Inputs, latches: Latches, problem: Hold | None) -> Hold | None:
    """Return why Guardian's pause is on; None if it is not.

    A pause once seen ends only with a payload that is fresh and complete: readable, with its blocks and with agents.
    """
    file = inputs.pause
    guardian = inputs.payload.guardian if isinstance(inputs.payload, Snapshot) else None
    if file is not None and file.problem:
        return Hold(Reason.PAUSED, f"the pause file cannot be read, which counts as paused: {file.problem}")
    if file is not None and file.paused and _runs(file.until, inputs.now):
        note = f" ({file.note})" if file.note else ""
        return Hold(Reason.PAUSED, f"the pause file says: {file.reason or 'paused'}{note}")
    if guardian is not None and guardian.is_paused and not _is_over(guardian, inputs):
        return Hold(Reason.PAUSED, f"the payload says: {guardian.reason or 'paused'}")
    if latches.paused:
        if problem is not None:
            return Hold(Reason.PAUSED, f"no fresh complete payload has ended the pause: {problem.detail}")
        if _is_empty(inputs.payload):
            return Hold(Reason.PAUSED, "no fresh complete payload has ended the pause: it has no agents")
    return None


def _is_over(guardian: Guardian, inputs: Inputs) -> bool:
    """Return whether the payload only repeats an expired pause file, since its producer ignores ``until``."""
    file = inputs.pause
    expired = file is not None and file.paused and not _runs(file.until, inputs.now)
    return expired and file is not None and bool(file.reason) and file.reason == guardian.reason


def _is_empty(payload: Snapshot | Refusal) -> bool:
    return isinstance(payload, Snapshot) and not payload.metrics and not payload.faults


def _runs(until: float | None, now: float) -> bool:
    return until is None or now < until


def _judge_agents(
    inputs: Inputs, snapshot: Snapshot, state: State, rules: Rules, latches: Latches, blocks: tuple[str, ...]
) -> Verdict:
    attendance = attendance_of(snapshot, state.agents)
    excused = {agent for agent in (*latches.accepted, *inputs.released) if agent in attendance.silent}
    accept = inputs.accepts(*AGENT_HOLDS)
    if accept:
        excused |= attendance.faulty.keys() | set(attendance.absent)
    accepted = (*blocks, *sorted(excused - set(latches.accepted)))
    gone = [agent for agent in attendance.gone if agent not in excused]
    hold = _agents_problem(snapshot, state, rules, attendance, excused, accept=accept)
    cycles = latches.gone_cycles
    if hold is None:
        # At least 4 even without a grace, which is for a single silent agent, not for half of the fleet.
        longest = 4 * max(1, rules.membership_grace_cycles)
        if gone and 2 * len(gone) >= len(attendance.members) and cycles < longest:
            cycles += 1
            of = f"{len(gone)} of {len(attendance.members)} members are gone at once"
            hold = Hold(Reason.MEMBERS_GONE, f"{of}, cycle {cycles} of {longest}")
        else:
            cycles = 0
    latches = replace(latches, gone_cycles=cycles, accepted=tuple(sorted(excused)))
    return Verdict(hold, latches, attendance=attendance, accepted=accepted)


def _agents_problem(
    snapshot: Snapshot, state: State, rules: Rules, attendance: Attendance, excused: set[Agent], *, accept: bool
) -> Hold | None:
    everyone = (*attendance.members, *attendance.lapsed)
    # Who has lapsed is no member here, unless all have.
    members = attendance.members or attendance.lapsed
    emptied = bool(members) and excused.issuperset(members)
    records = len(snapshot.metrics) + len(snapshot.faults)
    if not records and not emptied:
        return Hold(Reason.NO_AGENTS, "the payload has no agents")
    if everyone:
        bad, of = len(attendance.faulty.keys() - excused), len(attendance.members) + len(attendance.newcomers)
    else:
        bad, of = 0 if accept else len(snapshot.faults), records
    if 2 * bad > of:
        return Hold(Reason.FAULTY_MAJORITY, f"{bad} of {of} agents have a faulty record")
    lines = () if state.published is None else state.published.shares
    stays = any(
        agent not in attendance.silent
        or not leaves(
            state.agents[agent],
            faulty=agent in snapshot.faults,
            has_line=agent in lines,
            accepted=agent in excused,
            rules=rules,
        )
        for agent in everyone
    )
    if not attendance.newcomers and not stays and (state.published is None or not emptied):
        return Hold(Reason.NO_AGENTS, "the payload has no agent with a good record, and no member is left")
    return None
