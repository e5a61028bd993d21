"""``explain``: how an agent came by its share in the last decision, from the journal."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from capital_governor.cli.failures import explained
from capital_governor.cli.figures import fleet_text
from capital_governor.cli.output import fail, show_json
from capital_governor.cli.place import place
from capital_governor.cli.terminal_page import LABEL_COLUMNS, new_page
from capital_governor.cli.typed import retyped, typed
from capital_governor.contracts.exit_codes import OK, TEMPORARY, USAGE
from capital_governor.contracts.status import order_document
from capital_governor.core.model import Inputs, iso_text, signed, utc_text
from capital_governor.core.orders import Order
from capital_governor.core.trace import Decision
from capital_governor.journal.protocol import LIVE, Entry
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.wording.explanation import (
    explanation_document,
    explanation_lines,
    hold_cut_lines,
    left_out,
    limits_to_come,
)
from capital_governor.wording.moments import duration_text
from capital_governor.wording.reason_texts import message, waiting_text

FEW_NAMES: Final = 10


def explain(agent: str, root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """Show why an agent has its share."""
    with explained():
        where = place(root)
        paths = Paths(where.root, dry_run)
        found_last = _last_decision(paths.journal(where.journal_path), now := time.time())
        if found_last is None:
            next_ = f"{typed('once', root)} takes one"
            if is_held(paths.lock):
                next_ = f"{typed('status', root, dry_run=dry_run)} says what holds the running governor"
            fail(TEMPORARY, f"the journal of {where.root} has no decision yet: {next_}")
        entry, cut, newest, orders, waiting = found_last
    found = explanation_document(agent, entry.state, entry.rules, entry.decision)
    if found is None:
        many = f"{typed('status', root, dry_run=dry_run)} lists them"
        fail(USAGE, f"{agent!r} played no part in the last decision; {_names(agent, entry.decision, many)}")
    to_come = limits_to_come(agent, orders, entry.inputs, None if cut is None else cut.inputs)
    missing = left_out(entry.version, derived=entry.derived)
    if as_json:
        seen: dict[str, object] = {
            "root": str(where.root),
            "fleet": where.fleet_name,
            "at": entry.at,
            "newest_reason": newest.reason.value,
            "newest_at": newest.at,
        }
        seen["exposure_order"] = _ceiling_document(entry.inputs)
        seen |= {"waiting": waiting, "cut_since": None if cut is None else _cut_document(agent, cut)}
        show_json(found | seen | {"limits_to_come": [order_document(each) for each in to_come], "left_out": missing})
        return OK
    hold = newest.decision.trace.hold
    since = message(newest.reason, newest.rules) + (f": {hold.detail}" if hold is not None else "")
    lines = list(_with_author(explanation_lines(agent, entry.state, entry.rules, entry.decision), entry.inputs))
    if cut is not None:
        lines += _with_author(hold_cut_lines(agent, cut.state, cut.rules, cut.decision), cut.inputs)
    if missing:
        lines.append(f"left out   {missing}")
    lines = [retyped(line, root, dry_run=dry_run) for line in lines]
    lines.append(f"fleet      {fleet_text(where.fleet_name, where.root)}")
    happened = since if newest.seq != entry.seq else None
    show_explanation(lines, entry.at, now, happened, waiting, (order.text for order in to_come))
    return OK


def _with_author(lines: Iterable[str], inputs: Inputs) -> Iterator[str]:
    """Yield the lines of an explanation, and below exposure who ordered its ceiling, until when and why."""
    ceiling = inputs.ceiling
    for line in lines:
        yield line
        if line.startswith("exposure ") and ceiling is not None and ceiling.in_force(inputs.now):
            said = signed(ceiling.author, ceiling.until, ceiling.reason)
            yield f"             operator: exposure --max {ceiling.value:g} {said}"


def _ceiling_document(inputs: Inputs) -> dict[str, object] | None:
    """Return the ceiling on exposure that a decision obeyed, 0..1; None if there was none."""
    ceiling = inputs.ceiling
    if ceiling is None or not ceiling.in_force(inputs.now):
        return None
    until = None if ceiling.until is None else iso_text(ceiling.until)
    return {"max": ceiling.value, "author": ceiling.author, "reason": ceiling.reason, "until": until}


def _cut_document(agent: str, cut: Entry) -> dict[str, object] | None:
    """Return the explanation of a cut in a hold, with its time; None if the agent had no share in it."""
    found = explanation_document(agent, cut.state, cut.rules, cut.decision)
    return None if found is None else {"at": cut.at, "exposure_order": _ceiling_document(cut.inputs), **found}


def _last_decision(path: Path, now: float) -> tuple[Entry, Entry | None, Entry, tuple[Order, ...], int | None] | None:
    """Return the newest decided cycle, the last cut in a hold since then, and how it stands now; None if none decided.

    That is the newest cycle of all, the orders in force, and a generation not in the files yet. Raises JournalError.
    """
    with closing(open_sqlite(path, read_only=True)) as journal:
        decided, publishing = journal.last_decided(LIVE), journal.last_publishing(LIVE)
        newest = next(iter(journal.entries(LIVE, last=1)), decided)
        orders = journal.orders(now)
        waiting = journal.unreached(LIVE)
    if decided is None or newest is None:
        return None
    stands = newest.after.published
    cut = publishing if publishing is not None and publishing.seq > decided.seq else None
    if cut is not None and (stands is None or stands.generation != cut.generation):
        cut = None  # it never reached the agents and was given up
    return decided, cut, newest, orders, None if waiting is None else waiting.generation or None


def _names(agent: str, decision: Decision, many: str) -> str:
    """Return the name that the user may have meant, or the agents' names; ``many`` if there are many."""
    folded = {name.casefold(): name for name in decision.trace.limits}
    near = difflib.get_close_matches(agent.casefold(), folded, n=1)
    if near:
        return f"did you mean {folded[near[0]]}?"
    few = ", ".join(decision.trace.limits) if len(folded) <= FEW_NAMES else many
    return f"the agents: {few}"


def show_explanation(
    lines: Iterable[str], decided_at: float, now: float, since: str | None, waiting: int | None, to_come: Iterable[str]
) -> None:
    """Print the lines of ``explanation_lines``, when that was decided, and what has happened ``since``, if anything.

    ``waiting`` is a generation that is not in the files yet, ``to_come`` are the operator's limits that the next
    decision obeys, in words.
    """
    with new_page() as page:
        for number, line in enumerate(lines):
            page.line(line, "" if number else "bold", indent=_text_column(line) if number else 2)
        page.labelled("decided", f"{utc_text(decided_at)}, {duration_text(now - decided_at, exact=True)} ago", "dim")
        if since:
            page.labelled("since then", since, "yellow")
        if waiting:
            page.labelled("waiting", waiting_text(waiting), "red")
        for order in to_come:
            page.labelled("operator", f"from the next decision on: {order}", "yellow")


def _text_column(line: str) -> int:
    """Return the column where the text of a line begins, after its label or blanks."""
    return LABEL_COLUMNS if line[:1].strip() else len(line) - len(line.lstrip())
