"""Puts the operator's orders into the journal, from which a running governor reads them."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.permissions import locked_out
from capital_governor.cli.failures import explained
from capital_governor.cli.output import fail, warn, write_stdout
from capital_governor.cli.place import place
from capital_governor.contracts.exit_codes import USAGE
from capital_governor.contracts.text import clean
from capital_governor.core.model import Agent
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.journal.protocol import new_key
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from capital_governor.settings.durations import duration_seconds

BUSY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Desk:
    """An open journal for orders.

    ``running`` is whether a governor is there to obey it, ``primary`` the file of what is published,
    ``common_limits`` are MIN_ALLOC and MAX_ALLOC, None where the settings are faulty.
    """

    journal: Store
    primary: Path
    common_limits: tuple[float, float] | None
    now: float
    author: str
    running: bool | None

    def order(
        self,
        kind: OrderKind,
        seconds: float | None,
        reason: str,
        *,
        agent: Agent = "",
        cap: float | None = None,
        floor: float | None = None,
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
            accepts=accepts,
        )

    def give(self, order: Order, detail: str = "") -> None:
        """Store the order, end the one that it replaces, and show both."""

        def ends(old: Order) -> Order | None:
            same = (old.kind, old.agent) == (order.kind, order.agent)
            return old.ended(self.now, OrderEnd.REPLACED, self.author) if same else None

        replaced = self.journal.change_orders(self.now, ends, order)
        self._show(order.text + (f": {detail}" if detail else ""), *(f"replaces: {old.text}" for old in replaced))

    def take_back(self, which: Callable[[Order], bool]) -> bool:
        """End and show the orders in force for which ``which`` is True; return whether there were any."""
        ended = self.journal.change_orders(
            self.now, lambda old: old.ended(self.now, OrderEnd.TAKEN_BACK, self.author) if which(old) else None
        )
        if ended:
            self._show(*(f"taken back: {old.text}" for old in ended))
        return bool(ended)

    def _show(self, *lines: str) -> None:
        write_stdout("".join(f"{line}\n" for line in (*lines, self._effect())))

    def _effect(self) -> str:
        if self.running is None:
            return "whether a governor is running cannot be seen; it takes effect in the next cycle"
        return (
            "a governor is running: it takes effect in its next cycle"
            if self.running
            else "no governor is running: it takes effect when one is, or with `once`"
        )


@contextmanager
def open_desk(root: Path | None, *, dry_run: bool, nothing: str = "") -> Iterator[Desk]:
    """Open the journal for an order. Raises SystemExit where it cannot be written.

    If there is none one is made, unless ``nothing`` says what is wrong then.
    """
    with explained():
        where = place(root)
        paths = Paths(where.root, dry_run)
        path = paths.journal(where.journal_path)
        found = path.exists()
        if nothing and not found:
            fail(USAGE, nothing)
        # A governor of an older version that still runs could go on with neither the journal nor its orders.
        with closing(open_sqlite(path, upgrade=False, busy_seconds=BUSY_SECONDS)) as journal:
            if not found and (problem := locked_out(path)):
                warn(problem)
            common_limits = None if where.faults else (where.min_alloc, where.max_alloc)
            yield Desk(journal, paths.primary, common_limits, time.time(), _author(), is_held(paths.lock))


def _author() -> str:
    """Return the name of the user who owns this process, not from the environment."""
    number = os.getuid()
    try:
        return clean(pwd.getpwuid(number).pw_name) or f"user {number}"
    except KeyError:
        return f"user {number}"


def order_seconds(text: str | None) -> float | None:
    """Return ``--for`` in seconds; None if it is not given. Raises SystemExit 2 if it is not a duration."""
    if text is None:
        return None
    try:
        return duration_seconds(text)
    except ValueError as error:
        fail(USAGE, f"--for {clean(text, 40)!r} {error}")
