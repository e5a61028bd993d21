"""The decisions of all sources joined: NeoLight's file, the history of what left it, and what agents report. Pure."""

from __future__ import annotations

import math
from typing import Final

from capital_governor.hive.day_sums import DAY_SECONDS
from capital_governor.hive.decisions import NO_FILE, DecisionFile, History, is_reported, record_of
from capital_governor.hive.past import Past
from capital_governor.hive.reported_decisions import FOLDER, Reported
from capital_governor.hive.state_files import MISSING, PERFORMANCE, StateFile
from capital_governor.hive.trade_statistics import WINDOW_DAYS, Gap

SILENT_SECONDS: Final = DAY_SECONDS
"""Without a new record for longer than this, the recorder counts as dead."""
NO_ZONE: Final = "has no time zone"
HELP: Final = "`capital-governor docs agents` shows how an agent reports one"


def usable_record(file: StateFile, past: Past, reported: Reported, now: float) -> DecisionFile | str:
    """Return what NeoLight's file has, or why there can be no figures, in one sentence.

    The file may be missing if agents report their decisions themselves, and no other agent was in it.
    """
    if reported.problem not in {"", MISSING.problem}:
        return f"{FOLDER} {reported.problem}"
    if file.missing and reported.problem:
        return f"no agent has reported a decision: there is neither {PERFORMANCE} nor {FOLDER}/ ({HELP})"
    record = NO_FILE if file.missing else _record(file, reported, now)
    if isinstance(record, str):
        return f"{PERFORMANCE} {record}"
    recent = any(is_recent(history, now) for history in record.agents.values())
    if file.missing or (reported.newest_at and not recent):  # what agents report is enough
        return _lost(past, reported, now) or _silence_of(reported, now) or record
    return _silence(record, now) or (record if recent or reported.faults else nobody(record, reported))


def _record(file: StateFile, reported: Reported, now: float) -> DecisionFile | str:
    if file.document is None:
        return f"cannot be used: {file.problem}"
    return record_of(file.document, now, reported.first_at)


def joined(record: DecisionFile, past: Past, reported: Reported, now: float) -> dict[str, History]:
    """Return all decisions of each agent that has one in the window, sorted by name.

    From the time of an agent's first reported trade on, only what it reports itself counts.

    Args:
        record: what is in NeoLight's file; its histories are changed.
        past: what has left that file.
        reported: what agents report themselves.
        now: seconds since 1970 UTC.
    """
    found = past.histories(record, now, reported.first_at)
    for agent, own in reported.past.histories(NO_FILE, now).items():
        found[agent] = found.get(agent, History()).joined(own)
    for agent, fault in reported.faults.items():
        found.setdefault(agent, History()).problem = fault
    return {agent: history for agent, history in sorted(found.items()) if is_recent(history, now)}


def nobody(record: DecisionFile, reported: Reported) -> str:
    """Return the sentence for a fleet without a decision in the window."""
    if record is not NO_FILE:
        return f"{PERFORMANCE} holds no decision of the last {WINDOW_DAYS} days"
    why = f": {reported.warnings[0]}" if reported.warnings else f" ({HELP})"
    return f"{FOLDER} holds no decision of the last {WINDOW_DAYS} days{why}"


def gaps_of(agent: str, past: Past, reported: Reported) -> list[Gap]:
    """Return the gaps in the history of an agent; what it reports itself has none."""
    first = reported.first_at.get(agent, math.inf)
    return [(start, min(end, first)) for start, end in past.gaps if start < first]


def is_recent(history: History, now: float) -> bool:
    """Whether the agent has a decision in the window, or one with an unreadable time."""
    latest = history.latest_at
    return bool(history.problem) or (latest is not None and now - latest < WINDOW_DAYS * DAY_SECONDS)


def _lost(past: Past, reported: Reported, now: float) -> str:
    """Return that NeoLight's file lacks what it had of agents that do not report themselves; empty if it does not."""
    begin = now - WINDOW_DAYS * DAY_SECONDS
    gone = {
        entry.agent
        for entry in past.held
        if entry.at is not None and entry.at > begin and not is_reported(entry, reported.first_at)
    }
    if not gone:
        return ""
    return (
        f"{PERFORMANCE} has nothing of {', '.join(sorted(gone)[:3])} any more: put it back; if it is not used any more,"
        " stop the hive, remove state/capital_governor_hive.json and start it"
    )


def _silence(record: DecisionFile, now: float) -> str:
    """Return that NeoLight's file was not added to for long; empty if it was."""
    if record.updated_at is None:
        return f"{PERFORMANCE} holds no decision"
    naive = "; ".join(each for each in record.warnings if NO_ZONE in each)
    return _long_ago(str(PERFORMANCE), record.updated_at, now, f" ({naive})" if naive else "")


def _silence_of(reported: Reported, now: float) -> str:
    newest = max(reported.newest_at.values(), default=None)
    return "" if newest is None else _long_ago(f"{FOLDER}/", newest, now)


def _long_ago(what: str, at: float, now: float, note: str = "") -> str:
    silent = now - at
    if silent <= SILENT_SECONDS:
        return ""
    return f"{what} was last added to {silent / 3600:.0f} h ago: what records decisions seems to be dead{note}"
