"""``status``: whether a governor runs and what is published, from status file, lock, allocation file and journal."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from capital_governor.cli.failures import explained
from capital_governor.cli.history_events import outcome_text
from capital_governor.cli.output import fail, show_json
from capital_governor.cli.place import place, published_shares
from capital_governor.cli.settings_in_force import settings_not_in_force
from capital_governor.cli.status_details import details
from capital_governor.cli.status_page import acts, headline, reason_of, show_status
from capital_governor.cli.supervised import supervised
from capital_governor.cli.typed import typed
from capital_governor.contracts.exit_codes import OK, TEMPORARY, USAGE
from capital_governor.contracts.instants import read_instant
from capital_governor.core.model import Rules, iso_text
from capital_governor.core.reason import HOLDS
from capital_governor.service.standing import Standing, Vitals, status_document
from capital_governor.settings.sources import Place
from capital_governor.wording.cause_texts import PLAIN, hold_cause


class StatusUnknownError(Exception):
    """There is no status file that this version understands; ``remedy`` is what to do."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.remedy = remedy


def status(root: Path | None, *, dry_run: bool, watched: bool, as_json: bool) -> int:
    """Show whether a governor runs and what is published; return 75 if none runs. Watched: until Ctrl-C, then 0."""
    if watched and as_json:
        fail(USAGE, "status: --watch and --json cannot be given together: --watch is for people")
    with explained():
        if watched:
            from capital_governor.cli.status_watch import watch  # noqa: PLC0415 - `status` itself loads no tables of rich

            return watch(place(root), root, dry_run=dry_run)
        try:
            document = whole_status(place(root), root, now := time.time(), dry_run=dry_run)
        except StatusUnknownError as error:
            fail(TEMPORARY, str(error))
    show_json(document) if as_json else show_status(document, now, root)
    return OK if document["alive"] else TEMPORARY


def whole_status(where: Place, option: Path | None, now: float, *, dry_run: bool) -> dict[str, Any]:
    """Return what ``status --json`` shows.

    Args:
        where: the root and its journal.
        option: the ``--root`` argument.
        now: in seconds since 1970 UTC.
        dry_run: of the dry run.

    Raises:
        StatusUnknownError: there is no status file of this version.
        OSError: it cannot be read.
    """
    paths = Paths(where.root, dry_run)
    document: dict[str, Any] = {"root": str(where.root), "fleet": where.fleet_name}
    document |= _status(paths, option, now)
    document["settings_not_in_force"] = list(settings_not_in_force(paths)) if document["alive"] else []
    document["settings_faults"] = [str(fault) for fault in where.faults]
    document |= _details(paths.journal(where.journal_path), document)
    return document | {"headline": headline(document, now), "act": acts(document, option)}


def _status(paths: Paths, root: Path | None, now: float) -> dict[str, Any]:
    """Return the status file with the shares and whether a governor runs; ``root`` is the ``--root`` argument."""
    held = is_held(paths.lock)
    content = read_bounded(paths.status)
    if content is None and held:
        raise StatusUnknownError(
            f"there is no {paths.status}: a governor is at its first cycle here, or cannot write it",
            "wait for its first cycle; if none comes, see the end of its log",
        )
    if content is None:
        kept = None if paths.dry_run else supervised(paths.root)
        start = typed("run", root, dry_run=paths.dry_run)
        next_ = f"{start} starts one" if kept is None else f"its supervisor says: {kept['text']}"
        nobody = f"there is no {paths.status}: no governor has completed a cycle here yet"
        raise StatusUnknownError(f"{nobody}; {next_}", start)
    try:
        said: dict[str, Any] = json.loads(content)
        missing = json.loads(_BLANK).keys() - said.keys()
        until = read_instant(said["valid_until"])
        fresh = until is not None and now <= until.earliest
    except (ValueError, KeyError, TypeError, AttributeError):
        missing = {"its form"}
    if missing:
        raise StatusUnknownError(
            f"{paths.status} is not a status file of this version: the next cycle replaces it",
            "wait for the next cycle, if a governor runs",
        )
    standing = _standing(held=held, fresh=fresh, ended=said["state"] == "ended")
    shares, problem = published_shares(paths.primary)
    beside = {"standing": standing, "alive": standing == "running"}
    beside["supervisor"] = None if held or paths.dry_run else supervised(paths.root)
    return said | beside | {"allocations": shares, "allocations_problem": problem}


def _details(journal: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Return what the journal adds."""
    found = details(journal, document)
    reason = reason_of(document["reason"])
    outcome = found.outcome
    if not outcome and reason is not None:
        hold = reason in HOLDS
        outcome = outcome_text("held", hold_cause(reason, {"hold": document["detail"]})) if hold else PLAIN[reason]
        outcome += f": {document['detail']}" if document["detail"] and not hold else ""
    published = reason_of(document["published_reason"])
    return {
        "outcome": outcome or document["message"] or "",
        "published_cause": found.published_cause or (PLAIN[published] if published is not None else ""),
        "agents_now": list(found.agents.values()),
        "agents_problem": found.problem,
        "decided_at": None if found.decided_at is None else iso_text(found.decided_at),
        "exposure_now": found.exposure or None,
        "next_move": found.next_move or None,
    }


def _standing(*, held: bool | None, fresh: bool, ended: bool) -> str:
    """Return ``standing`` of ``status --json``: the lock shows whether a governor runs, the file what it did last."""
    if held is None:
        held = fresh and not ended
    if not held:
        return "ended" if ended else "dead"
    if ended:
        return "starting"
    return "running" if fresh else "late"


_BLANK: Final = status_document(Standing(), Vitals(), interval_seconds=1, rules=Rules(), dry_run=False, pid=0)
"""An example of a status file, for the names of its fields."""
