"""Puts the operator's orders into the journal, from which a running governor reads them."""

from __future__ import annotations

import math
import os
import pwd
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.adapters.interlocks import STOP_FILE, stop_present
from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.permissions import locked_out
from capital_governor.cli.failures import explained
from capital_governor.cli.known_root import demand_dry_run
from capital_governor.cli.order_timing import LastCycle, Needs, Situation, last_cycle, seconds_left, when_lines
from capital_governor.cli.output import fail, show_json, warn
from capital_governor.cli.place import place
from capital_governor.cli.terminal_page import show_lines
from capital_governor.cli.typed import retyped
from capital_governor.contracts.exit_codes import USAGE
from capital_governor.contracts.status import order_document
from capital_governor.contracts.text import clean
from capital_governor.core.model import Agent, Rules
from capital_governor.core.orders import Order, OrderEnd, OrderKind, hold_of
from capital_governor.journal.protocol import LIVE, Entry, new_key
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from capital_governor.settings.durations import duration_seconds
from capital_governor.settings.kinds import RATIO
from capital_governor.settings.sources import Place as SettingsPlace

LOOK_BACK: Final = (4, 300)
"""How many of the last cycles ``Desk.look_back`` reads: first a few, then about a day."""
BUSY_SECONDS: Final = 5.0
Effect: TypeAlias = Callable[[Sequence[Order]], Sequence[str]]
"""Takes the orders that have ended, and returns lines on what that and the new order do to capital."""


@dataclass(frozen=True, slots=True)
class Desk:
    """An open journal for orders.

    Args:
        root: the root that the orders are for.
        option: the ``--root`` argument.
        dry_run: whether they are for its dry run.
        as_json: whether answers are JSON.
        journal: where the orders are.
        primary: the file of what is published.
        rules: of a decision, but for MAX_AGE; None where the settings are faulty.
        longest_seconds: between two readings of the orders; None where the settings are faulty.
        now: the time, in seconds since 1970 UTC.
        author: user name of who gives orders.
        running: whether a governor is there to obey; None if that cannot be seen.
        stopped: whether the STOP file is there.
        last: what the status file says of the last cycle; None if it cannot be read.
    """

    root: Path
    option: Path | None
    dry_run: bool
    as_json: bool
    journal: Store
    primary: Path
    rules: Rules | None
    longest_seconds: float | None
    now: float
    author: str
    running: bool | None
    stopped: bool
    last: LastCycle | None

    def order(  # noqa: PLR0913 - one keyword per field, as in a dataclass
        self,
        kind: OrderKind,
        seconds: float | None,
        reason: str,
        *,
        agent: Agent = "",
        cap: float | None = None,
        floor: float | None = None,
        share_out: bool = False,
        accepts: str = "",
    ) -> Order:
        """Return an order of this process's user for ``seconds``; None: until taken back."""
        return Order(
            key=new_key(),
            kind=kind,
            author=self.author,
            given_at=self.now,
            until=None if seconds is None else self.now + seconds,
            reason=clean(reason),
            agent=agent,
            cap=cap,
            floor=floor,
            share_out=share_out,
            accepts=accepts,
        )

    def give(self, order: Order, effect: Effect, needs: Needs, detail: str = "") -> None:
        """Store the order, end the one that it replaces, and show both.

        Args:
            order: to store.
            effect: called with the replaced orders when this one is stored; returns lines on what it does to capital.
            needs: what it waits for.
            detail: follows the order.
        """

        def ends(old: Order) -> Order | None:
            same = (old.kind, old.agent) == (order.kind, order.agent)
            return old.ended(self.now, OrderEnd.REPLACED, self.author) if same else None

        moved_at = self._moved_at(needs)
        replaced = self.journal.change_orders(self.now, ends, order)
        self._answer(order, detail, replaced, effect(replaced), self._situation(moved_at), needs)

    def take_back(self, which: Callable[[Order], bool], effect: Effect, needs: Needs) -> bool:
        """End and show the orders in force for which ``which`` is True; return whether there were any.

        Args:
            which: of the orders in force.
            effect: called with the ended orders; returns lines on what their end does to capital.
            needs: what their end waits for.
        """
        moved_at = self._moved_at(needs)
        ended = self.journal.change_orders(
            self.now, lambda old: old.ended(self.now, OrderEnd.TAKEN_BACK, self.author) if which(old) else None
        )
        if ended:
            self._answer(None, "", ended, effect(ended), self._situation(moved_at), needs)
        return bool(ended)

    def _moved_at(self, needs: Needs) -> float | None:
        """Return when the last move was, if COOLDOWN may delay what an order needs; asked before anything is stored."""
        if needs not in {Needs.DECISION, Needs.MOVE} or self.rules is None or not self.rules.cooldown_seconds:
            return None
        head = self.journal.head(LIVE)
        return None if head is None else head.state.moved_at

    def _situation(self, moved_at: float | None) -> Situation:
        return Situation(
            now=self.now,
            running=self.running,
            stopped=self.stopped,
            last=self.last,
            hold=hold_of(self.journal.orders(self.now)),
            moved_at=moved_at,
            longest_seconds=self.longest_seconds,
            rules=self.rules,
            dry_run=self.dry_run,
        )

    def look_back(self) -> Iterator[list[Entry]]:
        """Yield the last cycles, newest first: a few, and for those who find nothing there about a day."""
        for last in LOOK_BACK:
            yield [*reversed(list(self.journal.entries(LIVE, last=last)))]

    def _answer(
        self,
        order: Order | None,
        detail: str,
        ended: Sequence[Order],
        effect: Sequence[str],
        seen: Situation,
        needs: Needs,
    ) -> None:
        """Show the order, those that it replaces or that are taken back, what that does to capital, and when."""
        effect, when = (
            [retyped(line, self.option, dry_run=self.dry_run) for line in lines]
            for lines in (effect, when_lines(seen, needs))
        )
        if self.as_json:
            within = seconds_left(seen)
            show_json(
                {
                    "root": str(self.root),
                    "dry_run": self.dry_run,
                    "order": None if order is None else order_document(order),
                    "detail": detail,
                    "ended": [order_document(old) for old in ended],
                    "effect": effect,
                    "when": when,
                    "running": self.running,
                    "within_seconds": None if within is None else math.ceil(within),
                }
            )
            return
        lines = [f"root: {self.root}{' (dry run)' if self.dry_run else ''}"]
        if order is not None:
            lines.append(order.text + (f": {detail}" if detail else ""))
        ending = "taken back" if order is None else "replaces"
        lines += (f"{ending}: {old.text}" for old in ended)
        show_lines((*lines, *effect, *when))


@contextmanager
def open_desk(root: Path | None, *, dry_run: bool, as_json: bool = False, nothing: str = "") -> Iterator[Desk]:
    """Open the journal for an order. Raises SystemExit where there was no governor, or it cannot be written.

    If only the journal is missing one is made, unless ``nothing`` says what is wrong then.
    """
    with explained():
        where = place(root)
        paths = Paths(where.root, dry_run)
        path = paths.journal(where.journal_path)
        if dry_run:
            demand_dry_run(root, where)
        found = path.exists()
        if nothing and not found:
            fail(USAGE, nothing)
        # A governor of an older version that still runs could go on with neither the journal nor its orders.
        with closing(open_sqlite(path, upgrade=False, busy_seconds=BUSY_SECONDS)) as journal:
            if not found and (problem := locked_out(path)):
                warn(problem)
            last = _last_cycle(paths.status)
            yield Desk(
                root=where.root,
                option=root,
                dry_run=dry_run,
                as_json=as_json,
                journal=journal,
                primary=paths.primary,
                rules=None if where.faults else where.rules,
                longest_seconds=None if where.faults else _interval(where, last) + where.fetch_deadline_seconds,
                now=time.time(),
                author=_author(),
                running=is_held(paths.lock),
                stopped=stop_present(where.root / STOP_FILE),
                last=last,
            )


def orders_in_force(path: Path) -> tuple[Order, ...]:
    """Return the orders in force in the journal at ``path``; none if there is no journal."""
    if not path.exists():
        return ()
    with closing(open_sqlite(path, read_only=True)) as journal:
        return journal.orders(time.time())


def _interval(where: SettingsPlace, last: LastCycle | None) -> float:
    """Return the interval of the governor that wrote the status file; that of these settings if it does not say."""
    return where.interval_seconds if last is None or last.interval_seconds is None else last.interval_seconds


def _last_cycle(status: Path) -> LastCycle | None:
    try:
        return last_cycle(read_bounded(status))
    except OSError:
        return None  # an order is valid without it


def _author() -> str:
    """Return the name of the user who owns this process, not from the environment."""
    number = os.getuid()
    try:
        return clean(pwd.getpwuid(number).pw_name) or f"user {number}"
    except KeyError:
        return f"user {number}"


def order_ratio(option: str, text: str, example: str) -> float:
    """Return the value of an option, 0..1. Raises SystemExit 2, with the example, if it is none."""
    try:
        return float(RATIO.read(text))
    except ValueError:
        fail(USAGE, f"{option} {clean(text, 40)!r} is not a number from 0 to 1; {example}")


def order_seconds(text: str | None) -> float | None:
    """Return ``--for`` in seconds; None if it is not given. Raises SystemExit 2 if it is not a duration."""
    if text is None:
        return None
    try:
        return duration_seconds(text)
    except ValueError as error:
        fail(USAGE, f"--for {clean(text, 40)!r} {error}")
