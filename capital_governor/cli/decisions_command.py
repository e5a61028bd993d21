"""``decisions``: one line for each cycle that differed from the one before, from the journal."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from capital_governor.adapters.paths import Paths
from capital_governor.cli.failures import explained
from capital_governor.cli.figures import fleet_text
from capital_governor.cli.history_events import decision_text, outcome_text, settings_text, unwell_text
from capital_governor.cli.looking_back import MOST, MOST_ON_TERMINAL, Diary, beginning
from capital_governor.cli.output import show_json
from capital_governor.cli.place import place
from capital_governor.cli.terminal_page import new_page
from capital_governor.contracts.exit_codes import OK
from capital_governor.core.model import iso_text
from capital_governor.journal.protocol import LIVE
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.turns import Turn
from capital_governor.wording.moments import duration_text, minute_text

DECISION_STYLES: Final = {"moved": "green", "restored": "green", "cut": "yellow", "held": "yellow", "refused": "red"}


def decisions(root: Path | None, since: str, *, dry_run: bool, as_json: bool) -> int:
    """Show each cycle that differed from the one before."""
    now = time.time()
    start = beginning(since, now)
    with explained():
        where = place(root)
        with closing(open_sqlite(Paths(where.root, dry_run).journal(where.journal_path), read_only=True)) as journal:
            before, turns = journal.turn_before(LIVE, start), journal.turns(LIVE, start, MOST)
            times = journal.first_and_last_at(LIVE)
            exposures = {each.generation: each.exposure for each in journal.publications(LIVE, start, MOST)}
    rows = decision_rows(turns, exposures)
    if as_json:
        seen = {"root": str(where.root), "fleet": where.fleet_name, "since": iso_text(start)}
        show_json(seen | {"decisions": rows})
        return OK
    begins = start if times is None else max(start, times[0])
    with new_page() as page:
        page.line(f"Decisions since {minute_text(begins)} that differed from the one before; times are UTC", "bold")
        page.labelled("fleet", fleet_text(where.fleet_name, where.root), "dim")
        if any(not turn.facts for turn in turns):
            page.line("Some were recorded by an earlier version: their causes are known in part only", "dim")
        if page.terminal and len(rows) > MOST_ON_TERMINAL:
            page.line(f"... {len(rows) - MOST_ON_TERMINAL} more before these: --json or a pipe has all", "dim")
            rows, turns = rows[-MOST_ON_TERMINAL:], turns[-MOST_ON_TERMINAL:]
        diary = Diary(page)
        for turn, later, row in zip_longest(turns, turns[1:], rows):
            for_ = "" if later is None else f" (for {duration_text(later.at - turn.at, exact=True)})"
            diary.line(turn.at, decision_line(turn, row) + for_, DECISION_STYLES.get(row["outcome"], ""))
        if not turns:
            said = "the journal has none" if before is None else f"all like the one of {minute_text(before.at)}"
            page.line(f"none: {said}")
    return OK


def decision_line(turn: Turn, row: Mapping[str, Any]) -> str:
    """Return a turn in one line; ``row`` is what ``decision_rows`` has for it."""
    return "; ".join(filter(None, (settings_text(turn), outcome_text(row["outcome"], row["text"]), row["unwell"])))


def decision_rows(turns: Sequence[Turn], exposures: Mapping[int, float]) -> list[dict[str, Any]]:
    """Return plain data for each turn; ``exposures`` are by generation."""
    rows: list[dict[str, Any]] = []
    generations = sorted(exposures)
    for turn, later in zip_longest(turns, turns[1:]):
        earlier = bisect_left(generations, turn.generation or 0)
        before = exposures[generations[earlier - 1]] if earlier else None
        outcome, text = decision_text(turn, before, exposures.get(turn.generation or 0))
        rows.append(
            {
                "at": iso_text(turn.at),
                "until": None if later is None else iso_text(later.at),
                "outcome": outcome,
                "reason": turn.reason.value,
                "text": text,
                "generation": turn.generation,
                "seen": turn.reached if turn.generation is not None else None,
                "unwell": unwell_text(turn),
                "facts": dict(turn.facts),
            }
        )
    return rows
