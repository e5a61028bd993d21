"""``status``: whether a governor runs and what is published, from its status file, lock and allocation file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from capital_governor.cli.failures import explained
from capital_governor.cli.figures import ago, percent
from capital_governor.cli.output import fail, show_json
from capital_governor.cli.place import place, published_shares
from capital_governor.cli.terminal_page import NARROW_COLUMNS, Cell, Page, largest, new_page
from capital_governor.contracts.exit_codes import OK, TEMPORARY
from capital_governor.contracts.instants import read_instant
from capital_governor.core.model import Rules
from capital_governor.service.standing import Standing, Vitals, status_document
from capital_governor.wording.amounts import count_text

BAR_COLUMNS: Final = 20


def status(root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """Show whether a governor runs and what is published; return 75 if none runs."""
    with explained():
        where = place(root)
        paths = Paths(where.root, dry_run)
        document = _status(paths, now := time.time())
    show_json(document) if as_json else show_status(document, now)
    return OK if document["alive"] else TEMPORARY


def _status(paths: Paths, now: float) -> dict[str, Any]:
    """Return the status file with the shares and whether a governor runs. Raises SystemExit 75 if there is none."""
    held = is_held(paths.lock)
    content = read_bounded(paths.status)
    if content is None:
        been = (
            "is at its first cycle here, or cannot write it"
            if held
            else "has run here yet: `capital-governor run` starts one"
        )
        fail(TEMPORARY, f"there is no {paths.status}: {'a' if held else 'no'} governor {been}")
    try:
        said: dict[str, Any] = json.loads(content)
        missing = json.loads(_BLANK).keys() - said.keys()
        until = read_instant(said["valid_until"])
        fresh = until is not None and now <= until.earliest
    except (ValueError, KeyError, TypeError, AttributeError):
        missing = {"its form"}
    if missing:
        fail(TEMPORARY, f"{paths.status} is not a status file of this version: the next cycle replaces it")
    standing = _standing(held=held, fresh=fresh, ended=said["state"] == "ended")
    shares, problem = published_shares(paths.primary)
    beside = {"standing": standing, "alive": standing == "running"}
    return said | beside | {"allocations": shares, "allocations_problem": problem}


def _standing(*, held: bool | None, fresh: bool, ended: bool) -> str:
    """Return a key of ``STANDING``: the lock shows whether a governor runs, the file what it did last."""
    if held is None:
        held = fresh and not ended
    if not held:
        return "ended" if ended else "dead"
    if ended:
        return "starting"
    return "running" if fresh else "late"


_BLANK: Final = status_document(Standing(), Vitals(), interval_seconds=1, rules=Rules(), dry_run=False, pid=0)
"""An example of a status file, for the names of its fields."""


STANDING: Final = {
    "running": "",
    "starting": "starting: a governor is there, and has not yet completed a cycle",
    "late": "LATE: a governor is there, but has only just started, hangs, or fails",
    "ended": "not running: it was ended",
    "dead": "NOT RUNNING, though nobody ended it: see the end of its log, then start it again",
}
"""By ``standing`` of ``status --json``, the text for people."""


def show_status(document: Mapping[str, Any], now: float) -> None:
    """Print the result of ``status``; ``now`` is in seconds since 1970 UTC."""
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


def _metrics_text(document: Mapping[str, Any], now: float) -> str:
    good = f"last usable {ago(document['last_success'], now)}" if document["last_success"] else "none usable yet"
    failures = document["failures_in_row"]
    return f"{good}, {count_text(failures, 'cycle')} in a row without" if failures else good


def _show_shares(page: Page, document: Mapping[str, Any]) -> None:
    shares = sorted(document["allocations"].items(), key=lambda item: (-item[1], item[0]))
    rows, others = largest(page, shares)
    most, withheld = max(share for _, share in shares) or 1.0, document["withheld"] or {}
    names = ["agent", "share"]
    if withheld:
        names.append("withheld")
    if page.terminal and page.width >= NARROW_COLUMNS and page.drawn:
        names.append("")
    cells = []
    for agent, share in rows:
        each = {
            "agent": Cell(agent),
            "share": Cell(percent(share), "bold"),
            "withheld": Cell(percent(withheld.get(agent)), "yellow"),
            "": Cell("\N{BLACK SQUARE}" * round(BAR_COLUMNS * share / most), "green"),
        }
        cells.append([each[name] for name in names])
    total = {"agent": "reserve", "share": percent(document["reserve"])}
    page.line("")
    page.table(names, cells, [total.get(name, "") for name in names], left=("agent", ""))
    if others:
        page.line(others, "dim")
