"""``status --watch``: the state of the fleet, redrawn as it changes, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console, Group
from rich.live import Live

from capital_governor.adapters.paths import Paths
from capital_governor.cli.decisions_command import decision_line, decision_rows
from capital_governor.cli.output import fail
from capital_governor.cli.status_command import StatusUnknownError, whole_status
from capital_governor.cli.status_page import comes_to_an_end
from capital_governor.cli.terminal_page import Page
from capital_governor.cli.typed import retyped
from capital_governor.cli.watch_frame import MOST_DECISIONS, Seen, frame
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.journal.protocol import LIVE, JournalError
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.settings.sources import Place

TICK_SECONDS: Final = 0.5
"""How soon a cycle is shown."""
STALE_SECONDS: Final = 5.0
"""After so long all is read again though no file has changed: an order, a lock, a time that is over."""


@dataclass(slots=True)
class StatusWatch:
    """What is read, and when it was read last.

    Args:
        where: the root and its journal.
        option: the ``--root`` argument.
        dry_run: of the dry run.
    """

    where: Place
    option: Path | None
    dry_run: bool
    _seen: Seen | None = None
    _mark: object = None
    _read_at: float = 0.0

    def look(self) -> Seen:
        """Return what there is to see; read again only if a cycle was completed, or after STALE_SECONDS."""
        paths = Paths(self.where.root, self.dry_run)
        mark = [_stamp(paths.status), _stamp(paths.primary)]
        if self._seen is None or mark != self._mark or time.monotonic() - self._read_at >= STALE_SECONDS:
            self._seen, self._mark, self._read_at = self._read(paths), mark, time.monotonic()
        return self._seen

    def _read(self, paths: Paths) -> Seen:
        try:
            document = whole_status(self.where, self.option, time.time(), dry_run=self.dry_run)
        except StatusUnknownError as error:
            return Seen(problem=f"{error}; this waits for it")
        except OSError as error:
            return Seen(problem=f"{error.filename}: {error.strerror}; this tries again")
        try:
            with closing(open_sqlite(paths.journal(self.where.journal_path), read_only=True)) as journal:
                turns = journal.turns(LIVE, 0.0, MOST_DECISIONS)
                since = turns[0].at if turns else time.time()
                exposures = {
                    each.generation: each.exposure for each in journal.publications(LIVE, since, MOST_DECISIONS)
                }
        except JournalError:  # the document says why
            rows = []
        else:
            rows = decision_rows(turns, exposures)
            rows = [row | {"line": decision_line(turn, row)} for turn, row in zip(turns, rows, strict=True)]
        return Seen(document, rows, retyped(comes_to_an_end(document), self.option, dry_run=self.dry_run))


def watch(where: Place, option: Path | None, *, dry_run: bool) -> int:
    """Show the state until Ctrl-C; return 0.

    Args:
        where: the root and its journal.
        option: the ``--root`` argument.
        dry_run: of the dry run.

    Raises:
        SystemExit: 2, this is no terminal that can be redrawn.
    """
    console = Console(highlight=False, no_color=bool(os.environ.get("NO_COLOR")))
    if sys.stdout is None or not console.is_terminal or console.is_dumb_terminal:
        fail(USAGE, "status: --watch needs a terminal that can be redrawn; for a program there is --json")
    seen, drawn = StatusWatch(where, option, dry_run), Page().drawn
    try:
        # On a screen of its own, line by line over the former frame, so that nothing flickers and nothing is lost.
        with _ended_in_order(), Live(console=console, screen=True, auto_refresh=False) as live:
            shown: object = None
            while True:
                size = console.size
                lines = frame(seen.look(), size.width, size.height, time.time(), drawn=drawn)
                if (size, lines) != shown:
                    live.update(Group(*lines), refresh=True)
                    shown = size, lines
                time.sleep(TICK_SECONDS)
    except KeyboardInterrupt:
        return OK


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP give the terminal back its own screen, as Ctrl-C does."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what differs after a file was replaced; None if it cannot be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
