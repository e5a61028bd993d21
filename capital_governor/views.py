"""What the commands show: the documented JSON, and the same as tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from capital_governor.core.leeway import Leeway
from capital_governor.core.model import WHOLE, Agent, Bounds, Decision, Rules
from capital_governor.messages import leeway_line, message
from capital_governor.status import Outcome

WIDTH_WITHOUT_TERMINAL = 160


def console() -> Console:
    """Return the console of stdout: as wide as the terminal, or wide enough to wrap nothing in a pipe."""
    return Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False, soft_wrap=True)


def show_json(document: object) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(f"{json.dumps(document, indent=2)}\n")


def once_document(outcome: Outcome, rules: Rules, *, dry_run: bool) -> dict[str, Any]:
    """Return what ``once`` decided: shares, weights, scores and changes are 0..1, null where there is none."""
    decision, published = outcome.decision, outcome.published
    trace, hold = decision.trace, decision.trace.hold
    before = outcome.before.published.shares if outcome.before.published else {}
    after = published.shares if published else {}
    return {
        "dry_run": dry_run,
        "reason": decision.reason.value,
        "message": message(decision.reason, rules),
        "hold": None if hold is None else hold.detail,
        "generation": None if published is None else published.generation,
        "moved": decision.proposal is not None,
        "exposure": trace.exposure if trace.multipliers else None,
        "exposure_by": trace.exposure_by or None,
        "reserve": None if published is None else published.reserve / WHOLE,
        "files_problem": outcome.files_problem or None,
        "warnings": list(trace.warnings),
        "agents": [
            {
                "agent": agent,
                "score": trace.scores[agent].total if agent in trace.scores else None,
                "weight": trace.weights.get(agent),
                "limit": _binding(decision, agent),
                "wanted": trace.target[agent] / WHOLE if agent in trace.target else None,
                "share": after[agent] / WHOLE if agent in after else None,
                "change": (after.get(agent, 0) - before.get(agent, 0)) / WHOLE,
                "fault": trace.faulty.get(agent) or ("absent" if agent in trace.absent else None),
            }
            for agent in sorted(trace.limits.keys() | after.keys(), key=lambda name: (-after.get(name, 0), name))
        ],
    }


def _binding(decision: Decision, agent: Agent) -> str | None:
    """Name the limit at which an agent's weight stands; None between them."""
    bounds: Bounds | None = decision.trace.limits.get(agent)
    weight = decision.trace.weights.get(agent)
    if bounds is None or weight is None:
        return None
    if weight >= bounds.hi:
        return bounds.hi_by.source.value
    return bounds.lo_by.source.value if weight <= bounds.lo * decision.trace.floor_scale else None


def show_once(document: Mapping[str, Any]) -> None:
    """Print what ``once`` decided as a table."""
    out = console()
    out.print(escape(document["message"] + (f": {document['hold']}" if document["hold"] else "")))
    if document["agents"]:
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("agent")
        for name in ("score", "weight"):
            table.add_column(name, justify="right")
        table.add_column("limit")
        for name in ("wanted", "share", "change"):
            table.add_column(name, justify="right")
        for row in document["agents"]:
            table.add_row(
                escape(row["agent"]) + (" (!)" if row["fault"] else ""),
                _number(row["score"]),
                _number(row["weight"]),
                row["limit"] or "",
                _percent(row["wanted"]),
                _percent(row["share"]),
                f"{row['change']:+.2%}" if row["change"] else "",
            )
        out.print(table)
        out.print(f"reserve {_percent(document['reserve'])}, exposure {_number(document['exposure'])}", end="")
        out.print(f" ({document['exposure_by']}), generation {document['generation'] or 'none'}")
    for row in document["agents"]:
        if row["fault"]:
            out.print(escape(f"(!) {row['agent']}: {row['fault']}"))
    for warning in document["warnings"]:
        out.print(escape(f"warning: {warning}"))
    if document["files_problem"]:
        out.print(escape(f"files: {document['files_problem']}"))
    if document["dry_run"]:
        out.print("dry run: nothing was written")


def show_status(status: Mapping[str, Any], shares: Mapping[str, float], *, alive: bool, age_seconds: float) -> None:
    """Print the status file and what is published."""
    out = console()
    word = status["state"] if alive else "not running"
    out.print(f"{word}, said {age_seconds:.0f} s ago by process {status['pid']}")
    if status["message"]:
        out.print(escape(status["message"] + (f": {status['detail']}" if status["detail"] else "")))
    if status["exit"]:
        out.print(escape(f"ends with: {status['exit']}"))
    if status["generation"]:
        out.print(f"generation {status['generation']} of {status['published_at']} ({status['published_reason']})")
        out.print(f"reserve {_percent(status['reserve'])}, exposure {_number(status['exposure'])}")
    if shares:
        table = Table("agent", box=box.SIMPLE_HEAD)
        table.add_column("share", justify="right")
        for agent, share in sorted(shares.items(), key=lambda item: (-item[1], item[0])):
            table.add_row(escape(agent), _percent(share))
        out.print(table)
    out.print(f"last usable meta-metrics: {status['last_success'] or 'never'}", end="")
    out.print(f", failures in a row: {status['failures_in_row']}")
    _show_troubles(out, status)


def _show_troubles(out: Console, status: Mapping[str, Any]) -> None:
    """Print what the status file has that an operator should look into."""
    if status["notices_refused"]:
        last = status["notices_refused_detail"]
        out.print(escape(f"notifications refused for good: {status['notices_refused']}, the last: {last}"))
    if status["notices_pending"]:
        out.print(f"notifications waiting: {status['notices_pending']}")
    for problem in ("journal_problem", "log_failures"):
        if status[problem]:
            out.print(escape(f"{problem.replace('_', ' ')}: {status[problem]}"))
    for warning in status["warnings"]:
        out.print(escape(f"warning: {warning}"))


def show_check(document: Mapping[str, Any], room: Leeway | None, rules: Rules) -> None:
    """Print what ``check`` found."""
    out = console()
    for name in ("root", "dashboard", "status", "payload"):
        out.print(escape(f"{name:<10} {document[name]}"))
    if document["telegram"] is not None:
        out.print(escape(f"telegram   {document['telegram']}"))
    for agent, fault in document["faults"].items():
        out.print(escape(f"faulty     {agent}: {fault}"))
    for warning in document["warnings"]:
        out.print(escape(f"warning    {warning}"))
    if room is not None:
        out.print(escape(f"leeway     {leeway_line(room, rules).text}"))


def show_config(rows: Mapping[str, Mapping[str, str]]) -> None:
    """Print every setting, its value and where that is from."""
    table = Table("setting", "value", "from", box=box.SIMPLE_HEAD)
    for name, row in rows.items():
        table.add_row(name, escape(row["value"]), row["from"])
    console().print(table)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
