"""What the journal adds to ``status``: each agent, what sets exposure and since when, and what the next move needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from capital_governor.cli.history_events import cycle_text, outcome_text
from capital_governor.contracts.instants import read_instant
from capital_governor.core.model import EVERYBODY, OPERATOR, WHOLE, Agent, iso_text
from capital_governor.core.reason import MOVES, Reason
from capital_governor.core.trace import AgentLimits, Decision, Trigger
from capital_governor.journal.protocol import LIVE, Entry, JournalError
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from capital_governor.journal.turns import Facts, Turn, facts_of
from capital_governor.wording.amounts import percent_text
from capital_governor.wording.cause_texts import move_cause
from capital_governor.wording.exposure_texts import exposure_cause
from capital_governor.wording.moments import duration_text
from capital_governor.wording.withheld_texts import cause_text

MOST_TURNS: Final = 300
"""So many turns are looked at for the time since which a cause has been there."""


@dataclass(frozen=True, slots=True)
class Details:
    """What the journal knows.

    Args:
        problem: why there is less than all; empty if nothing is missing.
        outcome: of the newest cycle, in words; empty if unknown.
        published_cause: why what is published was published; empty if unknown.
        decided_at: when agents were last scored; None if unknown.
        agents: by name, one object of plain data each.
        exposure: what sets exposure: ``cause``, ``value``, ``since``, ``last_known_at``; empty if unknown.
        next_move: what a move needs; empty if unknown.
    """

    problem: str = ""
    outcome: str = ""
    published_cause: str = ""
    decided_at: float | None = None
    agents: Mapping[Agent, Mapping[str, Any]] = field(default_factory=dict)
    exposure: Mapping[str, Any] = field(default_factory=dict)
    next_move: Mapping[str, Any] = field(default_factory=dict)


def details(path: Path, document: Mapping[str, Any]) -> Details:
    """Return what the journal adds to the status file; what cannot be read is missing, and ``problem`` says why.

    Args:
        path: of the journal.
        document: the status file, with the ``allocations`` of the primary file.
    """
    try:
        with closing(open_sqlite(path, read_only=True)) as journal:
            return _details(journal, document)
    except JournalError as error:
        return Details(problem=str(error))


def _details(journal: Store, document: Mapping[str, Any]) -> Details:
    newest = journal.newest_entry(LIVE)
    if newest is None:
        return Details(problem="the journal has no cycle yet")
    decided = newest if newest.decision.trace.scores else journal.newest_entry(LIVE, decided=True)
    turns = journal.turns(LIVE, 0.0, MOST_TURNS)
    now_known = newest if newest.decision.trace.multipliers else decided
    outcome = ""
    if newest.reason.value == document["reason"] and newest.derived:
        outcome = outcome_text(*cycle_text(newest))
        hold = newest.decision.trace.hold
        if waiting := document["detail"].removeprefix("" if hold is None else hold.detail).lstrip("; "):
            outcome += f"; {waiting}"
    return Details(
        problem=_problem(decided, document),
        outcome=outcome,
        published_cause=_published_cause(journal, document, turns),
        decided_at=None if decided is None else decided.at,
        agents={} if decided is None else _agents(newest, decided, document),
        exposure={} if now_known is None else _exposure(now_known, newest, turns),
        next_move={} if decided is None else _next_move(decided),
    )


def _facts(entry: Entry) -> Facts:
    return facts_of(entry.inputs, entry.decision, entry.state.published)


def _problem(decided: Entry | None, document: Mapping[str, Any]) -> str:
    if decided is None:
        return "no cycle has scored the agents yet"
    if not decided.derived:
        who = f"version {decided.version}" if decided.version else "an earlier version"
        return f"{who} took the last decision, and this one would decide differently"
    stands = decided.after.published
    generation = document["generation"]
    if generation is not None and stands is not None and stands.generation < generation:
        return "score, wants and to go are of the last decision, which is older than these shares"
    return ""


def _published_cause(journal: Store, document: Mapping[str, Any], turns: Sequence[Turn]) -> str:
    """Return why what agents see was published; empty if the journal does not have it."""
    at = None if document["published_at"] is None else read_instant(document["published_at"])
    if at is None:
        return ""
    known = journal.publications(LIVE, at.earliest, 5)
    place = next((n for n, each in enumerate(known) if each.generation == document["generation"]), None)
    if place is None:
        return ""
    facts = next((turn.facts for turn in turns if turn.generation == document["generation"]), {})
    before = known[place - 1].exposure if place else None
    return move_cause(known[place].reason, facts, before, known[place].exposure)


# --- agents -----------------------------------------------------------------------------------------------------------


def _agents(newest: Entry, decided: Entry, document: Mapping[str, Any]) -> dict[Agent, dict[str, Any]]:
    """Return plain data for each agent that has a share or limits; see ``agents`` of ``status --json``."""
    trace, shares = decided.decision.trace, document["allocations"]
    seen = newest.decision.trace if newest.decision.trace.multipliers and newest.derived else trace
    published = decided.after.published
    plan = {} if published is None else published.plan
    withheld = {**decided.decision.trace.withheld, **newest.decision.trace.withheld}
    rows = {}
    for agent in sorted({*shares, *trace.limits}):
        wanted, memory = trace.target.get(agent), newest.after.agents.get(agent)
        away = None
        if wanted is not None:
            away = max(0.0, decided.rules.threshold - abs(wanted - plan.get(agent, 0)) / WHOLE)
        amount = (document["withheld"] or {}).get(agent, 0.0)
        rows[agent] = {
            "agent": agent,
            "share": shares.get(agent),
            "score": trace.scores.get(agent),
            "wanted": None if wanted is None else wanted / WHOLE,
            "to_move": away,
            "limit": _limit(trace.limits.get(agent), trace.projected.get(agent), decided.decision),
            "withheld": amount,
            "withheld_by": cause_text(withheld[agent]) if amount and agent in withheld else None,
            "fault": seen.faulty.get(agent),
            "absent_cycles": seen.absent.get(agent),
            "grace_cycles": decided.rules.membership_grace_cycles,
            "lapsed": memory is not None and memory.lapsed,
            "orders": [order["text"] for order in document["orders"] if order["agent"] in {agent, EVERYBODY}],
        }
    return rows


def _limit(limits: AgentLimits | None, weight: float | None, decision: Decision) -> dict[str, Any] | None:
    """Return the limit that an agent's weight has reached: ``kind``, ``value``, ``source``; None between its limits."""
    if limits is None or weight is None:
        return None
    if weight >= limits.hi:
        return {"kind": "cap", "value": limits.hi, "source": limits.hi_by.source.value}
    lowest = limits.lo * decision.trace.floor_scale
    if weight <= lowest:
        return {"kind": "floor", "value": lowest, "source": limits.lo_by.source.value}
    return None


# --- exposure ---------------------------------------------------------------------------------------------------------


def _exposure(known: Entry, newest: Entry, turns: Sequence[Turn]) -> dict[str, Any]:
    """Return what sets exposure, from the newest cycle that knew it, and since when."""
    said = _facts(known).get("exposure")
    if not said:
        return {}
    order = newest.inputs.ceiling
    if order is not None and order.in_force(newest.at) and order.value < said["value"]:  # a hold works out no exposure
        known, said = newest, {"value": order.value, "by": OPERATOR, "origin": "order"}
        said |= {"author": order.author, "until": order.until, "order_reason": order.reason}
    since, whole = known.at, False
    for turn in reversed(turns):
        if turn.seq > known.seq or (turn.facts and "exposure" not in turn.facts):
            continue
        if not turn.facts or _same_cause(turn.facts["exposure"]) != _same_cause(said):
            whole = True
            break
        since = min(since, turn.at)
    origin = said.get("origin")
    stale = known.seq != newest.seq or origin == "last known"
    return {
        "cause": exposure_cause(said),
        "value": said["value"],
        "since": iso_text(since),
        "since_is_exact": whole or len(turns) < MOST_TURNS,
        "last_known_at": iso_text(known.at) if stale else None,
    }


def _same_cause(exposure: Facts) -> list[Any]:
    return [exposure.get(name) for name in ("by", "name", "author", "order_reason")]


# --- the next move ----------------------------------------------------------------------------------------------------


def _next_move(decided: Entry) -> dict[str, Any]:
    """Return what a move needs and how far it is, 0..1, and what keeps back one that is wanted."""
    trace, rules = decided.decision.trace, decided.rules
    by_reason: dict[Reason, Trigger] = {trigger.reason: trigger for trigger in trace.triggers}
    found = (by_reason.get(each) for each in (Reason.THRESHOLD, Reason.TURNOVER, Reason.DERISK))
    # Of what made a move nothing is left to be done.
    single, turnover, derisk = (None if decided.reason in MOVES else trigger for trigger in found)
    wanted = decided.reason not in MOVES and any(trigger.fired for trigger in trace.triggers)
    return {
        "change": _part(single),
        "change_of": None if single is None else single.subject or None,
        "change_needed": rules.threshold,
        "turnover": _part(turnover),
        "turnover_needed": rules.turnover_threshold,
        "reserve_rise": _part(derisk),
        "reserve_rise_needed": rules.derisk_threshold,
        "waits_for": (_waits(decided) or None) if wanted else None,
    }


def _part(trigger: Trigger | None) -> float:
    return 0.0 if trigger is None else max(0, trigger.value) / WHOLE


def _waits(decided: Entry) -> str:
    """Return what keeps back a move that is wanted."""
    said = []
    for brake in decided.decision.trace.brakes:
        if brake.active and brake.reason is Reason.COOLDOWN:
            said.append(f"the end of COOLDOWN, in {duration_text(brake.limit - brake.value, exact=True)}")
        elif brake.active:
            said.append(f"CONFIRM_CYCLES: asked for in {brake.value:.0f} of {brake.limit:.0f} cycles in a row")
    return ", and for ".join(said)


def next_move_text(said: Mapping[str, Any]) -> str:
    """Return in words what a move needs, and how far it is."""
    if said["waits_for"]:
        return f"wanted, and waits for {said['waits_for']}"
    needed = {name: percent_text(said[f"{name}_needed"]) for name in ("change", "turnover", "reserve_rise")}
    whose = f", {said['change_of']}" if said["change_of"] and percent_text(said["change"]) != percent_text(0) else ""
    now = {name: f"(now {percent_text(said[name])}{whose if name == 'change' else ''})" for name in needed}
    return (
        f"needs a change of {needed['change']} in one share {now['change']}, {needed['turnover']} in all"
        f" {now['turnover']}, or a reserve {needed['reserve_rise']} larger {now['reserve_rise']}"
    )
