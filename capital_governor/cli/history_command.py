"""``history``: who had what, when and why, with the orders, holds and faults between, from the journal."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from capital_governor.adapters.paths import Paths
from capital_governor.cli.failures import explained
from capital_governor.cli.figures import fleet_text
from capital_governor.cli.history_events import (
    Event,
    faults,
    gap_events,
    holds,
    lasting,
    moves,
    orders,
    settings_events,
)
from capital_governor.cli.looking_back import MOST, MOST_ON_TERMINAL, Diary, beginning
from capital_governor.cli.output import fail, show_json
from capital_governor.cli.place import place
from capital_governor.cli.terminal_page import new_page
from capital_governor.cli.typed import typed
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.core.model import WHOLE, Agent, Publication, iso_text
from capital_governor.journal.protocol import LIVE
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from capital_governor.wording.amounts import percent_text
from capital_governor.wording.moments import minute_text

FEW_SHARES: Final = 12
"""So many shares are named in the line about what was published before."""
_STYLES: Final = {
    "move": "green",
    "cut": "yellow",
    "restore": "green",
    "hold": "yellow",
    "gap": "red",
    "refused": "red",
}


@dataclass(frozen=True, slots=True)
class _Past:
    """What the journal has of a window.

    Args:
        events: oldest first.
        before: what agents had when it began; None: nothing is known.
        now: what they have.
        first_at: time of the oldest entry; None: the journal is empty.
        agents: that had a share or an order.
        older: some of it was recorded by an earlier version, without its cause.
    """

    events: Sequence[Event]
    before: Publication | None
    now: Publication | None
    first_at: float | None
    agents: frozenset[Agent]
    older: bool


def history(agent: str | None, root: Path | None, since: str, *, only_moves: bool, dry_run: bool, as_json: bool) -> int:
    """Show who had what, when and why, of the whole fleet or of one agent."""
    now = time.time()
    start = beginning(since, now)
    with explained():
        where = place(root)
        longest = max(60.0, 3 * where.interval_seconds)
        with closing(open_sqlite(Paths(where.root, dry_run).journal(where.journal_path), read_only=True)) as journal:
            past = _past(journal, start, now, agent, longest, only_moves=only_moves)
            if agent is not None and agent not in past.agents:
                fail(USAGE, _unknown(agent, past, typed("status", root, dry_run=dry_run)))
    if as_json:
        show_json({"root": str(where.root), "fleet": where.fleet_name} | _document(past, start, agent))
    else:
        _show(past, fleet_text(where.fleet_name, where.root), start, now, agent)
    return OK


def _past(journal: Store, start: float, now: float, agent: Agent | None, longest: float, *, only_moves: bool) -> _Past:
    published = journal.publications(LIVE, start, MOST)
    turns = journal.turns(LIVE, start, MOST)
    before, times = journal.turn_before(LIVE, start), journal.first_and_last_at(LIVE)
    given = journal.order_history()
    found = [*moves(published, turns, start, agent)]
    if not only_moves:
        whole = [*([] if before is None else [before]), *turns]
        found += [*holds(whole, start), *faults(whole, start, agent)]
        found += orders(given, start, now, agent)
        found += settings_events(turns)
        last = None if times is None else times[1]
        found += gap_events(journal.gaps(LIVE, start, longest), last, now, longest)
    return _Past(
        events=sorted(found, key=lambda event: (event.at, event.kind not in {"order", "settings"})),
        before=published[0] if published and published[0].at < start else None,
        now=published[-1] if published else None,
        first_at=None if times is None else times[0],
        agents=frozenset(order.agent for order in given).union(*(each.shares for each in published)),
        older=any(not turn.facts for turn in turns),
    )


def _unknown(agent: Agent, past: _Past, status: str) -> str:
    names = {} if past.now is None else {name.casefold(): name for name in past.now.shares}
    near = difflib.get_close_matches(agent.casefold(), names, n=1)
    hint = f"did you mean {names[near[0]]}?" if near else f"{status} lists the agents"
    return f"there is nothing about {agent!r} in this time; {hint}"


def _document(past: _Past, start: float, agent: Agent | None) -> dict[str, Any]:
    return {
        "since": iso_text(start),
        "agent": agent,
        "first_entry": None if past.first_at is None else iso_text(past.first_at),
        "causes_missing": past.older,
        "before": _shares(past.before, agent),
        "now": _shares(past.now, agent),
        "events": [
            {
                "at": iso_text(event.at),
                "until": None if event.until is None else iso_text(event.until),
                "kind": event.kind,
                "text": event.text,
                **event.more,
            }
            for event in past.events
        ],
    }


def _shares(published: Publication | None, agent: Agent | None) -> dict[str, Any] | None:
    if published is None:
        return None
    shares = published.shares if agent is None else {agent: published.shares.get(agent, 0)}
    return {
        "generation": published.generation,
        "published_at": iso_text(published.at),
        "exposure": published.exposure,
        "reserve": published.reserve / WHOLE,
        "shares": {name: share / WHOLE for name, share in shares.items()},
    }


def _show(past: _Past, fleet: str, start: float, now: float, agent: Agent | None) -> None:
    with new_page() as page:
        since = minute_text(max(start, past.first_at or start))
        page.line(f"{agent or 'Capital'} since {since}; times are UTC", "bold")
        page.labelled("fleet", fleet, "dim")
        if past.first_at is None:
            page.line("the journal is empty: no governor has completed a cycle here")
        elif past.first_at > start:
            page.line("the journal begins here", "dim")
        if past.before is not None:
            page.line(f"until then: {_shares_text(past.before, agent)}", "dim", indent=2)
        if past.older:
            page.line("Some of this was recorded by an earlier version: its causes are known in part only", "dim")
        events = past.events
        if page.terminal and len(events) > MOST_ON_TERMINAL:
            page.line(f"... {len(events) - MOST_ON_TERMINAL} more before these: --json or a pipe has all", "dim")
            events = events[-MOST_ON_TERMINAL:]
        diary = Diary(page)
        for event in events:
            for_ = lasting(event, now)
            diary.line(event.at, event.text + (f" ({for_})" if for_ else ""), _STYLES.get(event.kind, ""))
        if not events and past.first_at is not None:
            page.line("nothing has changed since then")
        if past.now is not None:
            page.line(f"now: {_shares_text(past.now, agent)}", "bold", indent=2)


def _shares_text(published: Publication, agent: Agent | None) -> str:
    if agent is not None:
        return percent_text(published.shares.get(agent, 0))
    ranked = sorted(published.shares.items(), key=lambda item: (-item[1], item[0]))
    said = [f"{name} {percent_text(share)}" for name, share in ranked[:FEW_SHARES]]
    if len(ranked) > FEW_SHARES:
        said.append(f"{len(ranked) - FEW_SHARES} more {percent_text(sum(share for _, share in ranked[FEW_SHARES:]))}")
    return ", ".join([*said, f"reserve {percent_text(published.reserve)}"])
