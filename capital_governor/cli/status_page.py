"""How ``status`` looks: alive, to do, published, agents, exposure, next move, and then the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from capital_governor.cli.figures import ago, fleet_text, percent
from capital_governor.cli.status_details import next_move_text
from capital_governor.cli.supervised import supervision_of
from capital_governor.cli.terminal_page import NARROW_COLUMNS, Cell, Page, largest, new_page
from capital_governor.cli.typed import SCRIPT, retyped, typed
from capital_governor.contracts.instants import read_instant
from capital_governor.core.reason import AGENT_HOLDS, HOLDS, Reason
from capital_governor.supervisor.root import GOVERNOR
from capital_governor.wording.amounts import count_text, names_text, percent_text
from capital_governor.wording.cause_texts import act_text, stored_order_text
from capital_governor.wording.moments import duration_text, moment_text

MOST_NOTES: Final = 10
"""So many agents get a line of their own about what is wrong with them."""
STANDING: Final = {
    "running": "Running, {state}",
    "starting": "Starting: a governor is there, and has not completed a cycle yet",
    "late": "LATE: a governor is there, but its last cycle was at {at}: it has just started, hangs, or fails",
    "ended": "Stopped normally after its cycle at {at}; {keep}",
    "dead": "CRASHED OR KILLED after its cycle at {at}; {keep}",
}
"""By ``standing`` of ``status --json``, the text for people."""
_BEGINS: Final = "Starting: its process is there, and governs soon"


def headline(document: Mapping[str, Any], now: float) -> str:
    """Return whether a governor runs, in words."""
    until, valid = when(document["valid_until"], now), read_instant(document["valid_until"])
    keep = f"agents keep their shares until {until}"
    if valid is None or now > valid.earliest:
        keep = f"its shares have counted as out of date since {until}"
    kept = document["supervisor"]
    if kept is not None:
        return f"{kept['text'] if kept['state'] != 'running' else _BEGINS}; {keep}"
    return STANDING[document["standing"]].format(
        state=document["state"], at=when(document["timestamp"], now), keep=keep
    )


def acts(document: Mapping[str, Any], root: Path | None) -> list[str]:
    """Return what a person must do now, the most urgent first; empty if nothing.

    Args:
        document: of ``status --json``.
        root: the ``--root`` argument.
    """
    found = list(_acts_on_standing(document, root))
    needed, how = act_text(reason_of(document["reason"]), document["detail"])
    if needed and document["standing"] in {"running", "late"}:
        found.append(retyped(how, root, dry_run=document["dry_run"]))
    if document["allocations_problem"]:
        found.append("see what is wrong with the allocation file")
    if document["journal_problem"]:
        found.append("let the journal be written again: until then the history is kept in memory only")
    if document["notices_refused"]:
        found.append(f"correct what Telegram refuses: {typed('check --notify', root)} shows it")
    if document["settings_faults"]:
        wrong = count_text(len(document["settings_faults"]), "problem")
        shown = typed("check", root)
        found.append(f"correct the settings ({wrong}), or no governor can be started again: {shown} shows them")
    if document["settings_not_in_force"]:
        take_over = typed("reload", root, dry_run=document["dry_run"])
        found.append(f"let the governor take over what has changed in .env: {take_over}")
    if document["standing"] != "running" or reason_of(document["reason"]) in AGENT_HOLDS:
        return found
    silent = [row["agent"] for row in document["agents_now"] if row["fault"] or row["lapsed"] or _absent(row)]
    if silent:
        found.append(f"see why {names_text(silent)} {'send' if len(silent) > 1 else 'sends'} no good record")
    return found


def _acts_on_standing(document: Mapping[str, Any], root: Path | None) -> Iterator[str]:
    """Yield what must be done where no governor runs, or one that does not work."""
    standing, kept = document["standing"], document["supervisor"]
    supervision = supervision_of(Path(document["root"]))
    if standing == "late":
        supervises = not document["dry_run"] and supervision.running_supervisor() is not None
        how = f": {supervision.typed(f'restart {GOVERNOR}')}" if supervises else ""
        yield f"if no cycle comes soon, see the end of its log and restart it{how}"
    if standing not in {"ended", "dead"} or (kept is not None and kept["state"] in {"running", "stopping"}):
        return
    if kept is not None and kept["state"] == "gave-up":
        yield f"put right what the end of its log says, then {supervision.typed(f'restart {GOVERNOR}')}"
    elif kept is not None and kept["state"] == "waiting":
        yield f"none if it comes back; why it ended: {supervision.typed(f'logs {GOVERNOR}')}"
    else:
        start = typed("run", root, dry_run=document["dry_run"])
        if not document["dry_run"] and SCRIPT.is_file() and supervision.last_supervisor() is not None:
            start = supervision.typed("start")
        if standing == "dead":
            yield f"see the end of its log, then start it again: {start}"
        else:
            yield f"start it again if capital is to be governed: {start}"


def _absent(row: Mapping[str, Any]) -> bool:
    return row["absent_cycles"] is not None


def reason_of(text: str | None) -> Reason | None:
    """Return a reason of the status file; None without one, or if another version wrote it."""
    try:
        return None if text is None else Reason(text)
    except ValueError:
        return None


def when(iso: str | None, now: float) -> str:
    """Return a time of the status file in words, as ``moment_text`` does."""
    at = None if iso is None else read_instant(iso)
    return "an unknown time" if at is None else moment_text(at.earliest, now)


def show_status(document: Mapping[str, Any], now: float, root: Path | None) -> None:
    """Print the result of ``status``.

    Args:
        document: of ``status --json``.
        now: in seconds since 1970 UTC.
        root: the ``--root`` argument.
    """
    spell = partial(retyped, root=root, dry_run=document["dry_run"])
    with new_page() as page:
        running = document["standing"] == "running"
        color = {"governing": "green"}.get(document["state"], "yellow") if running else "red"
        page.line(headline(document, now), f"bold {color}", indent=2)
        for act in document["act"]:
            page.labelled("act", act, "bold yellow")
        if not document["act"]:
            page.labelled("act", spell(f"no action needed{comes_to_an_end(document)}"), "green")
        if document["outcome"]:
            page.labelled("outcome", document["outcome"])
        if document["exit"] and document["act"] and document["standing"] == "running":
            page.labelled("ends with", spell(document["exit"]))
        page.labelled("fleet", fleet_text(document["fleet"], document["root"]))
        _show_published(page, document, now)
        if document["allocations"]:
            _show_agents(page, document)
        _show_exposure(page, document, now)
        for order in document["orders"]:
            page.labelled("operator", stored_order_text(order["text"], order["accepts"]), "yellow")
        if document["reason"]:
            page.labelled("last cycle", f"{ago(document['timestamp'], now)}, by process {document['pid']}")
        page.labelled("metrics", metrics_text(document, now), "yellow" if document["failures_in_row"] else "")
        for line in document["settings_not_in_force"]:
            page.labelled("settings", line, "yellow")
        for label, text, style in troubles(document):
            page.labelled(label, text, style)


def comes_to_an_end(document: Mapping[str, Any]) -> str:
    """Return how a state in which nobody must act ends, behind a colon; empty if it need not."""
    _, ends = act_text(reason_of(document["reason"]))
    return f": {ends}" if ends and document["standing"] == "running" else ""


def metrics_text(document: Mapping[str, Any], now: float) -> str:
    """Return when the last usable metrics came."""
    good = f"last usable {ago(document['last_success'], now)}" if document["last_success"] else "none usable yet"
    failures = document["failures_in_row"]
    return f"{good}, {count_text(failures, 'cycle')} in a row without" if failures else good


def _show_published(page: Page, document: Mapping[str, Any], now: float) -> None:
    if document["generation"] is None:
        return
    since = f"since {when(document['published_at'], now)}, {ago(document['published_at'], now)}"
    cause = f": {document['published_cause']}" if document["published_cause"] else ""
    page.labelled("published", f"generation {document['generation']}, {since}{cause}")


# --- agents -----------------------------------------------------------------------------------------------------------


def _show_agents(page: Page, document: Mapping[str, Any]) -> None:
    known = {row["agent"]: row for row in document["agents_now"]}
    shares = sorted(document["allocations"].items(), key=lambda item: (-item[1], item[0]))
    rows, others = largest(page, shares)
    narrow = page.width < NARROW_COLUMNS
    names = ["agent", "share"]
    if document["withheld"]:
        names.append("withheld")
    if known:
        names += ["score", "wants", "to go"] if narrow else ["score", "wants", "to go", "limit"]
    if narrow and document["withheld"]:
        names.remove("withheld")  # the lines below the table have it
    cells = [
        [_cells(agent, share, known.get(agent), document, narrow=narrow)[name] for name in names]
        for agent, share in rows
    ]
    shown = partial(percent, digits=1 if narrow else 2)
    total = {"agent": "reserve", "share": shown(document["reserve"])}
    page.line("")
    page.table(names, cells, [total.get(name, "") for name in names])
    if others:
        page.line(others, "dim")
    for text, style in (*_notes([known[agent] for agent, _ in shares if agent in known]),):
        page.line(text, style, indent=4)
    if narrow:
        for text in _limit_lines([known[agent] for agent, _ in rows if agent in known]):
            page.line(text, "dim", indent=4)
    if known:
        page.line("to go: how much more `wants` must change to cause a move by itself", "dim", indent=4)
    if document["agents_problem"]:
        page.line(f"(i) {document['agents_problem']}", "dim", indent=4)
    page.line("")


def _cells(
    agent: str, share: float, row: Mapping[str, Any] | None, document: Mapping[str, Any], *, narrow: bool
) -> dict[str, Cell]:
    said: Mapping[str, Any] = row or {}
    shown = partial(percent, digits=1 if narrow else 2)
    unwell = row is not None and bool(said["fault"] or said["lapsed"] or _absent(said))
    score = said.get("score")
    limit = said.get("limit")
    return {
        "agent": Cell(agent, "yellow" if unwell else ""),
        "share": Cell(shown(share), "bold"),
        "withheld": Cell(shown((document["withheld"] or {}).get(agent)), "yellow"),
        "score": Cell("" if score is None else f"{score:.{3 if narrow else 4}f}"),
        "wants": Cell(shown(said.get("wanted"))),
        "to go": Cell(shown(said.get("to_move"))),
        "limit": Cell("" if limit is None else f"{limit['kind']} {percent_text(limit['value'])}", "dim"),
    }


def _notes(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with agents and what is withheld from them, MOST_NOTES at most."""
    notes = [f"{row['agent']}: {note}" for row in rows for note in _notes_of(row)]
    for note in notes[:MOST_NOTES]:
        yield note, "yellow"
    if len(notes) > MOST_NOTES:
        yield f"... and {len(notes) - MOST_NOTES} more: --json lists all", "dim"


def _notes_of(row: Mapping[str, Any]) -> Iterator[str]:
    if row["lapsed"]:
        yield "lapsed, no record for too long; three good records in a row end that"
    elif row["fault"]:
        yield f"faulty record, so it may not gain: {row['fault']}"
    elif row["absent_cycles"] == 0:
        yield "no record, so it may not gain"
    elif row["absent_cycles"] is not None:
        yield f"no record in {row['absent_cycles']} of {count_text(row['grace_cycles'], 'cycle')}, so it may not gain"
    if row["withheld"] and not row["lapsed"]:
        by = f": {row['withheld_by']}" if row["withheld_by"] else ""
        yield f"{percent_text(row['withheld'])} withheld{by}"


def _limit_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield which agents have reached a limit, one line for each limit."""
    reached: dict[str, list[str]] = {}
    for row in rows:
        if row["limit"] is not None:
            text = f"at {row['limit']['kind']} {percent_text(row['limit']['value'])}"
            reached.setdefault(text, []).append(row["agent"])
    for text, agents in reached.items():
        yield f"{text}: {names_text(agents)}"


# --- exposure and the rest --------------------------------------------------------------------------------------------


def _show_exposure(page: Page, document: Mapping[str, Any], now: float) -> None:
    published, known = document["exposure"], document["exposure_now"]
    if published is None:
        return
    text = percent_text(published)
    if known:
        at = read_instant(known["since"])
        for_ = "" if at is None else f" (for {duration_text(now - at.earliest, exact=True)})"
        exact = "" if known["since_is_exact"] else "before "
        text += f": {known['cause']}, since {exact}{when(known['since'], now)}{for_}"
        if known["last_known_at"] is not None and "last known" not in text:
            text += f"; last known at {when(known['last_known_at'], now)}"
        if abs(known["value"] - published) > 1e-9:  # noqa: PLR2004 - float rounding
            text += f"; that allows {percent_text(known['value'])}, which is published with the next move"
    page.labelled("exposure", text)
    if document["next_move"]:
        text = next_move_text(document["next_move"])
        held = reason_of(document["reason"]) in HOLDS
        page.labelled("next move", f"not before the hold ends; then it {text}" if held else text)


def troubles(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield label, text and style of each problem."""
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
