"""What a cycle would do now, from files, journal and dashboard; nothing is written."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from capital_governor.adapters.dashboard import dashboard_of
from capital_governor.adapters.logs import get_logger
from capital_governor.adapters.paths import Paths
from capital_governor.cli.settings_in_force import settings_not_in_force
from capital_governor.contracts.payload import parse
from capital_governor.core.model import Refusal, Snapshot
from capital_governor.journal.protocol import Head
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite
from capital_governor.journal.store import Store
from capital_governor.service.cycle import Cycle
from capital_governor.service.daemon import in_loop
from capital_governor.service.event_log import write_line
from capital_governor.service.standing import Outcome
from capital_governor.settings.load import Settings
from capital_governor.wording.log_events import LogEvent


def preview(settings: Settings, journal: Store | None = None) -> tuple[Outcome, int | Refusal]:
    """Decide from files, journal and dashboard without writing; also return the dashboard's answer for /status.

    Raises:
        JournalError: there is a journal, and it cannot be read.
    """
    cycle = Cycle(settings, _copied(settings.journal_path) if journal is None else journal)
    _show_start(cycle)
    up, payload = in_loop(lambda: _ask(settings))
    return cycle.preview(payload), up


def preview_warnings(settings: Settings) -> list[str]:
    """Return why the next cycle of a running governor may decide otherwise: it has other settings than ``.env``."""
    differing = settings_not_in_force(Paths(settings.root))
    return [f"a governor runs with other settings than this shows: {line}" for line in differing]


def _show_start(cycle: Cycle) -> None:
    """Restore the state from which a governor would start, and log what it would find."""
    log, found = get_logger(), cycle.resume()
    for remark in (LogEvent.START_FOUND.line(found=found), *cycle.remarks):
        write_line(log, remark)


def _copied(path: Path) -> Store:
    """Return a journal in memory with the end of the one at ``path``; an empty one if there is none.

    It has what a start reads: state, newest cycle, last reached publication, and every order. Ended orders are
    included, since an older status file may have them in force.
    """
    journal = in_memory()
    if not path.exists():
        return journal
    with closing(open_sqlite(path, read_only=True)) as stored:
        for entry in stored.entries(Cycle.book, last=1):
            journal.go_on_from(Cycle.book, Head("the one before", entry.state), stored.last_reached(Cycle.book))
            journal.record(replace(entry, previous="the one before"))
        journal.put_orders(stored.order_history())
    return journal


async def _ask(settings: Settings) -> tuple[int | Refusal, Snapshot | Refusal]:
    dashboard = dashboard_of(settings)
    up, body = await asyncio.gather(dashboard.status(), dashboard.fetch())
    return up, body if isinstance(body, Refusal) else parse(body)
