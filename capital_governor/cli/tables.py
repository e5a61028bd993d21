"""What ``status``, ``explain``, ``check`` and ``show-config`` show to people, each from its document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from capital_governor.cli.terminal import (
    LABEL_COLUMNS,
    NARROW_COLUMNS,
    Page,
    ago,
    largest,
    moment,
    new_page,
    new_table,
    percent,
    span,
)
from capital_governor.wording.messages import count_text, waiting_text

BAR_COLUMNS: Final = 20


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
    with new_page() as page:
        running = document["standing"] == "running"
        color = {"governing": "green"}.get(document["state"], "yellow") if running else "red"
        page.line(STANDING[document["standing"]] or document["state"], f"bold {color}")
        if document["reason"]:
            page.labelled("last cycle", f"{ago(document['timestamp'], now)}, by process {document['pid']}")
            page.labelled("outcome", document["message"] + (f": {document['detail']}" if document["detail"] else ""))
        if document["exit"]:
            page.labelled("ends with", document["exit"])
        page.labelled("metrics", _metrics_text(document, now), "yellow" if document["failures_in_row"] else "")
        if document["generation"] is not None:
            page.labelled(
                "published",
                f"generation {document['generation']}, {ago(document['published_at'], now)}"
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
    if document["journal_dropped"]:
        lost = count_text(document["journal_dropped"], "cycle")
        yield "journal", f"{lost} did not fit into memory during an outage and cannot be looked up any more", "yellow"
    if document["notices_refused"]:
        refused, why = count_text(document["notices_refused"], "message"), document["notices_refused_detail"]
        yield "telegram", f"{refused} refused, the last: {why}", "red"
    if document["notices_pending"]:
        why = document["notices_pending_detail"]
        waiting = f"{count_text(document['notices_pending'], 'message')} waiting"
        yield "telegram", f"{waiting}: {why}" if why else waiting, "yellow"
    if document.get("heartbeat_problem"):
        yield "heartbeat", f"{document['heartbeat_problem']}, {document['heartbeat_failures']} failed so far", "yellow"
    if document["log_failures"]:
        yield "log", f"{count_text(document['log_failures'], 'line')} could not be written", "red"
    for warning in document["warnings"]:
        yield "warning", warning, "yellow"


def _metrics_text(document: Mapping[str, Any], now: float) -> str:
    good = f"last usable {ago(document['last_success'], now)}" if document["last_success"] else "none usable yet"
    failures = document["failures_in_row"]
    return f"{good}, {count_text(failures, 'cycle')} in a row without" if failures else good


def _show_shares(page: Page, document: Mapping[str, Any]) -> None:
    shares = sorted(document["allocations"].items(), key=lambda item: (-item[1], item[0]))
    rows, others = largest(page, shares)
    table = new_table("agent", "share")
    if page.terminal and page.width >= NARROW_COLUMNS and not page.console.options.ascii_only:
        table.add_column("", no_wrap=True)
    most = max(share for _, share in shares) or 1.0
    for agent, share in rows:
        bar = Text("\N{BLACK SQUARE}" * round(BAR_COLUMNS * share / most), "green")
        table.add_row(*(Text(agent), Text(percent(share), "bold"), bar)[: len(table.columns)])
    table.columns[0].footer, table.columns[1].footer = "reserve", percent(document["reserve"])
    page.line("")
    page.console.print(table)
    if others:
        page.line(others, "dim")


# --- explain, check, show-config --------------------------------------------------------------------------------------


def show_explanation(
    lines: Iterable[str], decided_at: float, now: float, since: str | None, waiting: int | None, to_come: Iterable[str]
) -> None:
    """Print the lines of ``explanation.explain_lines``, when that was, and what has happened ``since``, if anything.

    ``waiting`` is a generation that is not in the files yet, ``to_come`` are the operator's limits that the next
    decision obeys, in words.
    """
    with new_page() as page:
        for number, line in enumerate(lines):
            page.line(line, "" if number else "bold", indent=_text_column(line) if number else 2)
        page.labelled("decided", f"{moment(decided_at)}, {span(now - decided_at)} ago", "dim")
        if since:
            page.labelled("since then", since, "yellow")
        if waiting:
            page.labelled("waiting", waiting_text(waiting), "red")
        for order in to_come:
            page.labelled("operator", f"from the next decision on: {order}", "yellow")


def _text_column(line: str) -> int:
    """Return where the text of a line begins: behind its label, or behind the blanks in place of one."""
    return LABEL_COLUMNS if line[:1].strip() else len(line) - len(line.lstrip())


def show_check(document: Mapping[str, Any]) -> None:
    """Print what ``check`` found."""
    with new_page() as page:
        for label in ("root", "dashboard", "status", "payload"):
            page.labelled(label, document[label])
        if document["runtime"] != "writable":
            page.labelled("runtime", document["runtime"], "red")
        if document["journal"] not in {"readable", "none yet"}:
            page.labelled("journal", document["journal"], "red")
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
    with new_page() as page:
        table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
        table.add_column("setting", no_wrap=True)
        table.add_column("value", overflow="fold")
        table.add_column("from", no_wrap=True)
        for name, row in rows.items():
            given = "" if row["from"] == "default" else "bold"
            table.add_row(Text(name), Text(row["value"], given), Text(row["from"], given or "dim"))
        page.console.print(table)
