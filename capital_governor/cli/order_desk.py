"""Puts the operator's orders into the journal, from which a running governor reads them."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from capital_governor.adapters.interlocks import STOP_FILE, stop_present
from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.permissions import locked_out
from capital_governor.cli.failures import explained
from capital_governor.cli.output import fail, warn, write_stdout
from capital_governor.cli.place import place
from capital_governor.contracts.exit_codes import USAGE
from capital_governor.contracts.text import clean
from capital_governor.core.model import Agent, Rules
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.journal.protocol import new_key
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from capital_governor.settings.durations import duration_seconds
from capital_governor.settings.kinds import RATIO

BUSY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Desk:
    """An open journal for orders.

    Args:
        journal: where the orders are.
        primary: the file of what is published.
        limits: the rules that limit shares in every cycle; None where the settings are faulty.
        interval_seconds: between two cycles; None where the settings are faulty.
        now: the time, in seconds since 1970 UTC.
        author: user name of who gives orders.
        running: whether a governor is there to obey; None if that cannot be seen.
        stopped: whether the STOP file is there.
    """

    journal: Store
    primary: Path
    limits: Rules | None
    interval_seconds: float | None
    now: float
    author: str
    running: bool | None
    stopped: bool

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

    def give(self, order: Order, detail: str = "", effect: Callable[[], Sequence[str]] = tuple) -> None:
        """Store the order, end the one that it replaces, and show both.

        Args:
            order: to store.
            detail: follows the order.
            effect: called when the order is stored; returns lines on what it does to capital.
        """

        def ends(old: Order) -> Order | None:
            same = (old.kind, old.agent) == (order.kind, order.agent)
            return old.ended(self.now, OrderEnd.REPLACED, self.author) if same else None

        replaced = self.journal.change_orders(self.now, ends, order)
        shown = (order.text + (f": {detail}" if detail else ""), *(f"replaces: {old.text}" for old in replaced))
        write_stdout("".join(f"{line}\n" for line in (*shown, *effect(), *self._timing(tightens(order)))))

    def take_back(self, which: Callable[[Order], bool], *effect: str) -> bool:
        """End and show the orders in force for which ``which`` is True; return whether there were any.

        Args:
            which: of the orders in force.
            effect: lines on what their end does to capital.
        """
        ended = self.journal.change_orders(
            self.now, lambda old: old.ended(self.now, OrderEnd.TAKEN_BACK, self.author) if which(old) else None
        )
        if ended:
            taken = (f"taken back: {old.text}" for old in ended)
            write_stdout("".join(f"{line}\n" for line in (*taken, *effect, *self._timing(in_holds=False))))
        return bool(ended)

    def _timing(self, in_holds: bool) -> Iterator[str]:  # noqa: FBT001 - the only argument
        """Yield when an order takes effect; ``in_holds``: in every hold but STOP, and so at a known time."""
        if self.running is None:
            yield "whether a governor is running cannot be seen; it takes effect in the next cycle"
        elif not self.running:
            yield "no governor is running: it takes effect when one is, or with `once`"
        else:
            begins = "" if self.interval_seconds is None else f", within {self.interval_seconds:g} s"
            until = f"{begins}, in every hold but STOP" if in_holds else ""
            yield f"a governor is running: it takes effect in its next cycle{until}"
        if self.stopped and in_holds:
            yield "the STOP file is there: nothing changes until it is removed"


def tightens(order: Order) -> bool:
    """Whether the order is one that is obeyed in holds too."""
    return order.kind in {OrderKind.EXPOSURE, OrderKind.LIMIT} and order.cap is not None


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
            yield Desk(
                journal=journal,
                primary=paths.primary,
                limits=None if where.faults else where.limits,
                interval_seconds=None if where.faults else where.interval_seconds,
                now=time.time(),
                author=_author(),
                running=is_held(paths.lock),
                stopped=stop_present(where.root / STOP_FILE),
            )


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
