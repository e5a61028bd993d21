"""What the commands show: one JSON document of a documented shape, or the same for people.

A terminal gets colours, lines wrapped at its width, and of a large fleet the largest shares. Everything else (a pipe, a
file) gets plain text in which nothing is wrapped, cut or left out, so that it can be searched and compared.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from capital_governor.core.hold import EXITS
from capital_governor.core.leeway import Leeway, leeway
from capital_governor.core.model import WHOLE, Agent, Rules
from capital_governor.core.trace import Decision
from capital_governor.exits import TEMPORARY, fail
from capital_governor.messages import count_text, leeway_line, message, outcome
from capital_governor.status import Outcome, order_document

WIDTH_WITHOUT_TERMINAL: Final = 1_000
"""More than the widest line: nothing is wrapped, and a table takes no more than it needs."""
NARROW_COLUMNS: Final = 64
"""Below this, ``once`` leaves out how a share came about: ``explain`` has it."""
ROWS_ON_TERMINAL: Final = 40
"""Agents that a terminal gets; what a person looks for after that is not found by scrolling."""
LABEL_COLUMNS: Final = 11
BAR_COLUMNS: Final = 20

_COLORS: Final = {"move": "green", "cut": "yellow", "hold": "yellow", "refused": "red", "stay": ""}


# --- the way out ------------------------------------------------------------------------------------------------------


def write(text: str) -> None:
    """Write to stdout. A reader that has gone, or a stdout that is closed, is nobody's fault and ends nothing.

    Raises:
        SystemExit: 75, with one line on stderr, if it cannot be written for another reason (disk full).
    """
    if sys.stdout is None:
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a reason may have letters that the terminal lacks
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer must not be tried again at exit, where nobody could catch its failure.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            fail(TEMPORARY, f"standard output: {error.strerror}")


def show_json(document: object) -> None:
    """Write one JSON document to stdout."""
    write(f"{json.dumps(document, indent=2)}\n")


class _Sheet(io.StringIO):
    """Takes what a console prints; its encoding, which decides between drawn and typed rules, is that of stdout."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(sys.stdout, "encoding", None) or "utf-8"


class _Page:
    """Lines and tables, collected for one ``write``."""

    def __init__(self) -> None:
        self.terminal = sys.stdout is not None and sys.stdout.isatty()
        self.sheet = _Sheet()
        self.console = Console(
            file=self.sheet,
            width=shutil.get_terminal_size().columns if self.terminal else WIDTH_WITHOUT_TERMINAL,
            force_terminal=self.terminal,
            color_system="auto" if self.terminal and not os.environ.get("NO_COLOR") else None,
            highlight=False,
        )

    @property
    def width(self) -> int:
        return self.console.width

    def line(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Print text as it is, brackets included; what does not fit a terminal goes on below, indented."""
        if self.terminal:
            text = textwrap.fill(text, max(self.width, 2 * LABEL_COLUMNS), subsequent_indent=" " * indent)
        self.console.print(Text(text, style), soft_wrap=True)

    def labelled(self, label: str, text: str, style: str = "") -> None:
        """Print ``label      text``."""
        self.line(f"{label:<{LABEL_COLUMNS - 1}} {text}", style, indent=LABEL_COLUMNS)


@contextmanager
def _page() -> Iterator[_Page]:
    page = _Page()
    yield page
    write("".join(f"{line.rstrip()}\n" for line in page.sheet.getvalue().removesuffix("\n").split("\n")))


def _table(*names: str) -> Table:
    """Return a table of numbers, but for its first column."""
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1), show_footer=True, show_edge=False)
    for name in names:
        if name in {"agent", "limit"}:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table


def _largest(page: _Page, rows: Sequence[Any]) -> tuple[Sequence[Any], str]:
    """Return the rows to show, and what to say of the others."""
    if not page.terminal or len(rows) <= ROWS_ON_TERMINAL:
        return rows, ""
    return rows[:ROWS_ON_TERMINAL], f"... and {len(rows) - ROWS_ON_TERMINAL} more agents: --json or a pipe lists all"


# --- once -------------------------------------------------------------------------------------------------------------


def once_document(done: Outcome, rules: Rules, *, dry_run: bool) -> dict[str, Any]:
    """Return what ``once`` decided, as ``once --json`` shows it.

    ``reason``, ``message`` and ``outcome`` (move, cut, stay, hold, refused) say how the cycle ended; of a hold also
    ``hold``, the facts, and ``exit``, what ends it. ``generation``, ``reserve`` and each ``share`` are of what is
    published afterwards (in a dry run: would be), ``moved`` whether this cycle published it. ``exposure``,
    ``exposure_by``, and each agent's ``score``, ``weight``, ``limit`` (the one at which the weight stands) and
    ``wanted`` (the share before any threshold) are of this cycle's decision. ``change`` is that of the published share,
    ``fault`` why an agent may not gain. Shares, weights, scores and changes are 0..1; null is "there is none".
    Agents come by falling share. ``leeway`` is as in ``check``, ``orders`` are the operator's that this cycle obeyed.
    """
    decision, published, before = done.decision, done.published, done.before.published
    trace, hold = decision.trace, decision.trace.hold
    old, new = before.shares if before else {}, published.shares if published else {}
    agents = sorted(trace.limits.keys() | new.keys() | old.keys(), key=lambda name: (-new.get(name, 0), name))
    return {
        "dry_run": dry_run,
        "reason": decision.reason.value,
        "message": message(decision.reason, rules),
        "outcome": outcome(decision.reason),
        "hold": None if hold is None else hold.detail,
        "exit": None if hold is None else EXITS[hold.reason],
        "generation": None if published is None else published.generation,
        "moved": decision.proposal is not None,
        "exposure": trace.exposure if trace.multipliers else None,
        "exposure_by": trace.exposure_by or None,
        "reserve": None if published is None else published.reserve / WHOLE,
        "reserve_change": None if published is None or before is None else (published.reserve - before.reserve) / WHOLE,
        "files_problem": done.files_problem or None,
        "journal_problem": done.journal_problem or None,
        "orders": [order_document(order) for order in done.orders],
        "warnings": list(trace.warnings),
        "leeway": leeway_document(leeway(len(trace.limits), rules), rules) if trace.limits else None,
        "agents": [
            {
                "agent": agent,
                "score": trace.scores[agent].total if agent in trace.scores else None,
                "weight": trace.weights.get(agent),
                "limit": _binding(decision, agent),
                "wanted": trace.target[agent] / WHOLE if agent in trace.target else None,
                "share": new[agent] / WHOLE if agent in new else None,
                "change": (new.get(agent, 0) - old.get(agent, 0)) / WHOLE,
                "fault": trace.faulty.get(agent) or ("no record" if agent in trace.absent else None),
            }
            for agent in agents
        ],
    }


def leeway_document(room: Leeway, rules: Rules) -> dict[str, Any]:
    """Return how far scores can move a weight: 0..1; ``frozen`` means never as far as a threshold."""
    return {
        "agents": room.agents,
        "lowest_weight": room.lowest,
        "highest_weight": room.highest,
        "forced_reserve": room.forced_reserve,
        "frozen": room.freezes(rules),
        "text": leeway_line(room, rules).text,
    }


def _binding(decision: Decision, agent: Agent) -> str | None:
    """Name the limit at which an agent's weight stands; None between them."""
    bounds, weight = decision.trace.limits.get(agent), decision.trace.weights.get(agent)
    if bounds is None or weight is None:
        return None
    if weight >= bounds.hi:
        return bounds.hi_by.source.value
    return bounds.lo_by.source.value if weight <= bounds.lo * decision.trace.floor_scale else None


def show_once(document: Mapping[str, Any]) -> None:
    """Print what ``once`` decided."""
    with _page() as page:
        page.line(document["message"], f"bold {_COLORS[document['outcome']]}".strip())
        if document["hold"]:
            page.labelled("because", document["hold"])
            page.labelled("ends with", document["exit"])
        for order in document["orders"]:
            page.labelled("operator", order["text"], "yellow")
        if document["agents"]:
            _show_agents(page, document)
        _show_faults(page, document)
        if document["leeway"]:
            page.line(document["leeway"]["text"], "yellow" if document["leeway"]["frozen"] else "dim", indent=2)
        for warning in document["warnings"]:
            page.labelled("warning", warning, "yellow")
        if document["files_problem"]:
            page.labelled("files", document["files_problem"], "red")
        if document["journal_problem"]:
            page.labelled("journal", f"kept in memory only, and gone now: {document['journal_problem']}", "red")
        if document["dry_run"]:
            page.line("Dry run: nothing was written", "bold")


def _show_agents(page: _Page, document: Mapping[str, Any]) -> None:
    names = ["agent", "score", "weight", "limit", "share", "change"]
    if any(row["wanted"] not in {None, row["share"]} for row in document["agents"]):
        names.insert(4, "wanted")
    if page.width < NARROW_COLUMNS:
        names = [name for name in names if name not in {"weight", "limit", "wanted"}]
    table = _table(*names)
    rows, others = _largest(page, document["agents"])
    for row in rows:
        cells = _cells(row)
        table.add_row(*(cells[name] for name in names))
    total = {"agent": "reserve", "share": _percent(document["reserve"]), "change": _change(document["reserve_change"])}
    for column, name in zip(table.columns, names, strict=True):
        column.footer = total.get(name, "")
    page.line("")
    page.console.print(table)
    if others:
        page.line(others, "dim")
    announced = " (not published)" if document["dry_run"] and document["moved"] else ""
    said = [f"generation {document['generation'] or 'none'}{announced}"]
    if document["exposure"] is not None:
        said.append(f"exposure {document['exposure']:.4g}, set by {document['exposure_by']}")
    page.line(", ".join(said), "dim", indent=2)


def _cells(row: Mapping[str, Any]) -> dict[str, Text]:
    return {
        "agent": Text(row["agent"] + (" (!)" if row["fault"] else ""), "yellow" if row["fault"] else ""),
        "score": Text(_number(row["score"])),
        "weight": Text(_number(row["weight"])),
        "limit": Text(row["limit"] or "", "dim"),
        "wanted": Text(_percent(row["wanted"])),
        "share": Text(_percent(row["share"]), "bold"),
        "change": Text(_change(row["change"]), "green" if row["change"] > 0 else "red"),
    }


def _show_faults(page: _Page, document: Mapping[str, Any]) -> None:
    faulty = [row for row in document["agents"] if row["fault"]]
    for row in faulty:
        page.line(f"(!) {row['agent']}: {row['fault']}", "yellow", indent=4)
    if faulty:
        page.line("    (!) may not gain until its record is good again", "dim", indent=4)


# --- status -----------------------------------------------------------------------------------------------------------

STANDING: Final = {
    "running": "",
    "starting": "starting: a governor is there, and has not yet completed a cycle",
    "late": "LATE: a governor is there, but has only just started, hangs, or fails",
    "ended": "not running: it was ended",
    "dead": "NOT RUNNING, though nobody ended it: see the end of its log, then start it again",
}
"""How a governor may stand, as ``status --json`` calls it, and what people are told."""


def show_status(document: Mapping[str, Any], now: float) -> None:
    """Print what ``status`` found; ``now`` is in seconds since 1970 UTC."""
    with _page() as page:
        running = document["standing"] == "running"
        color = {"governing": "green"}.get(document["state"], "yellow") if running else "red"
        page.line(STANDING[document["standing"]] or document["state"], f"bold {color}")
        if document["reason"]:
            page.labelled("last cycle", f"{_ago(document['timestamp'], now)}, by process {document['pid']}")
            page.labelled("outcome", document["message"] + (f": {document['detail']}" if document["detail"] else ""))
        if document["exit"]:
            page.labelled("ends with", document["exit"])
        page.labelled("metrics", _metrics_text(document, now), "yellow" if document["failures_in_row"] else "")
        if document["generation"] is not None:
            page.labelled(
                "published",
                f"generation {document['generation']}, {_ago(document['published_at'], now)}"
                f" ({document['published_reason']}), exposure {document['exposure']:.4g}",
            )
        for order in document["orders"]:
            page.labelled("operator", order["text"], "yellow")
        for label, text, style in _troubles(document):
            page.labelled(label, text, style)
        if document["allocations"]:
            _show_shares(page, document)


def _troubles(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield label, text and style of what an operator should look into."""
    for label, key in (("journal", "journal_problem"), ("files", "allocations_problem")):
        if document[key]:
            yield label, document[key], "red"
    if document["notices_refused"]:
        refused, why = count_text(document["notices_refused"], "message"), document["notices_refused_detail"]
        yield "telegram", f"{refused} refused, the last: {why}", "red"
    if document["notices_pending"]:
        yield "telegram", f"{count_text(document['notices_pending'], 'message')} waiting", "yellow"
    if document.get("heartbeat_problem"):
        yield "heartbeat", f"{document['heartbeat_problem']}, {document['heartbeat_failures']} failed so far", "yellow"
    if document["log_failures"]:
        yield "log", f"{count_text(document['log_failures'], 'line')} could not be written", "red"
    for warning in document["warnings"]:
        yield "warning", warning, "yellow"


def _metrics_text(document: Mapping[str, Any], now: float) -> str:
    good = f"last usable {_ago(document['last_success'], now)}" if document["last_success"] else "none usable yet"
    failures = document["failures_in_row"]
    return f"{good}, {count_text(failures, 'cycle')} in a row without" if failures else good


def _show_shares(page: _Page, document: Mapping[str, Any]) -> None:
    shares = sorted(document["allocations"].items(), key=lambda item: (-item[1], item[0]))
    rows, others = _largest(page, shares)
    table = _table("agent", "share")
    if page.terminal and page.width >= NARROW_COLUMNS and not page.console.options.ascii_only:
        table.add_column("", no_wrap=True)
    most = max(share for _, share in shares) or 1.0
    for agent, share in rows:
        bar = Text("\N{BLACK SQUARE}" * round(BAR_COLUMNS * share / most), "green")
        table.add_row(*(Text(agent), Text(_percent(share), "bold"), bar)[: len(table.columns)])
    table.columns[0].footer, table.columns[1].footer = "reserve", _percent(document["reserve"])
    page.line("")
    page.console.print(table)
    if others:
        page.line(others, "dim")


# --- explain, check, show-config --------------------------------------------------------------------------------------


def show_explanation(
    lines: Iterable[str], decided_at: float, now: float, since: str | None, to_come: Iterable[str]
) -> None:
    """Print the lines of ``explanation.explain_lines``, when that was, and what has happened ``since``, if anything.

    ``to_come`` are the operator's limits that the next decision obeys, in words.
    """
    with _page() as page:
        for number, line in enumerate(lines):
            page.line(line, "" if number else "bold", indent=_text_column(line) if number else 2)
        page.labelled("decided", f"{_moment(decided_at)}, {_span(now - decided_at)} ago", "dim")
        if since:
            page.labelled("since then", since, "yellow")
        for order in to_come:
            page.labelled("operator", f"from the next decision on: {order}", "yellow")


def _text_column(line: str) -> int:
    """Return where the text of a line begins: behind its label, or behind the blanks in place of one."""
    return LABEL_COLUMNS if line[:1].strip() else len(line) - len(line.lstrip())


def show_check(document: Mapping[str, Any]) -> None:
    """Print what ``check`` found."""
    with _page() as page:
        for label in ("root", "dashboard", "status", "payload"):
            page.labelled(label, document[label])
        if document["telegram"] is not None:
            page.labelled("telegram", document["telegram"])
        for agent, fault in document["faults"].items():
            page.labelled("faulty", f"{agent}: {fault}", "yellow")
        for warning in document["warnings"]:
            page.labelled("warning", warning, "yellow")
        room = document["leeway"]
        if room is not None:
            page.labelled("leeway", room["text"], "yellow" if room["frozen"] else "")
        upcoming = document["next"]
        held = "" if upcoming["hold"] is None else f": {upcoming['hold']}"
        page.labelled("next cycle", upcoming["message"] + held, "yellow" if held else "")
        if upcoming["exit"] is not None:
            page.labelled("ends with", upcoming["exit"])
        if document["ok"]:
            page.line("Ready" + (", but held" if held else ""), "bold yellow" if held else "bold green")
        else:
            page.line("Not ready", "bold red")


def show_config(rows: Mapping[str, Mapping[str, str]]) -> None:
    """Print every setting, its value and where that is from."""
    with _page() as page:
        table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
        table.add_column("setting", no_wrap=True)
        table.add_column("value", overflow="fold")
        table.add_column("from", no_wrap=True)
        for name, row in rows.items():
            given = "" if row["from"] == "default" else "bold"
            table.add_row(Text(name), Text(row["value"], given), Text(row["from"], given or "dim"))
        page.console.print(table)


# --- numbers ----------------------------------------------------------------------------------------------------------


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"


def _change(change: float | None) -> str:
    return f"{change:+.2%}" if change else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _ago(iso: str, now: float) -> str:
    """Return how long ago a time of the status file was, as people say it."""
    return f"{_span(now - datetime.fromisoformat(iso).timestamp())} ago"


def _span(seconds: float) -> str:
    """Return a duration in its two largest units; what lies ahead (a clock set back) is negative."""
    whole = abs(int(seconds))
    units = (("d", whole // 86_400), ("h", whole // 3_600 % 24), ("min", whole // 60 % 60), ("s", whole % 60))
    first = next((place for place, (_, count) in enumerate(units) if count), len(units) - 1)
    said = [f"{count} {unit}" for unit, count in units[first : first + 2] if count] or ["0 s"]
    return ("-" if seconds <= -1 else "") + " ".join(said)
