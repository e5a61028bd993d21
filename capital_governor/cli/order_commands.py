"""The operator's hand: orders put into the journal, which a running governor obeys from its next cycle on."""

from __future__ import annotations

import difflib
import os
import pwd
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import TypeAdapter, ValidationError

from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.rights import locked_out
from capital_governor.cli import terminal
from capital_governor.cli.failures import explained, fail, warn
from capital_governor.cli.options import Json, OfDryRun, Root, place
from capital_governor.contracts.exit_codes import USAGE
from capital_governor.contracts.status import order_document
from capital_governor.contracts.text import RESERVED_NAMES, clean, escape_name, valid_name
from capital_governor.core.acceptance import EXPIRES_SECONDS, open_hold
from capital_governor.core.model import Agent, Rules
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.journal.protocol import LIVE, new_key
from capital_governor.journal.sqlite.store import SqliteJournal, open_sqlite
from capital_governor.settings.durations import duration_seconds
from capital_governor.settings.fields import Ratio

app = typer.Typer()

For = Annotated[str | None, typer.Option("--for", metavar="DURATION", help="How long: 90s, 15m, 2h, 7d, 1w, 1h30m.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Shown wherever the order is.")]
Name = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name, as in the allocation file.")]

BUSY_SECONDS: Final = 5.0
LOOK_BACK: Final = (4, 300)
"""Cycles in which a hold that `accept` could be about is looked for: most often one of the last, else one of a day."""


@app.command()
def hold(root: Root = None, duration: For = None, reason: Why = "", dry_run: OfDryRun = False) -> None:  # noqa: FBT002
    """Keep all shares as they are.

    Until `resume`, or for the time that --for gives. A second hold replaces the first.
    """
    seconds = _seconds(duration)
    with _desk(root, dry_run=dry_run) as desk:
        desk.give(desk.order(OrderKind.HOLD, seconds, reason))


@app.command()
def resume(root: Root = None, dry_run: OfDryRun = False) -> None:  # noqa: FBT002
    """Take the hold back."""
    nothing = "there is no hold to take back; `capital-governor status` says what keeps the shares still"
    with _desk(root, dry_run=dry_run, nothing=nothing) as desk:
        if not desk.take_back(lambda old: old.kind is OrderKind.HOLD):
            fail(USAGE, nothing)


@app.command()
def accept(root: Root = None, dry_run: OfDryRun = False) -> None:  # noqa: FBT002
    """Let the governor go on without what is lost, faulty or gone.

    For the hold that is on now, once: it names that hold, waits up to a day for a cycle that can use it, and lapses if
    the hold ends by itself.
    """
    nothing = "there is nothing to accept: no hold is on that `accept` ends; `capital-governor status` shows the reason"
    with _desk(root, dry_run=dry_run, nothing=nothing) as desk:
        found = None
        for last in LOOK_BACK:
            found = found or open_hold(
                entry.decision for entry in reversed(list(desk.journal.entries(LIVE, last=last)))
            )
        if found is None:
            fail(USAGE, nothing)
        desk.give(desk.order(OrderKind.ACCEPT, EXPIRES_SECONDS, "", accepts=found.reason.value), found.detail)


@app.command()
def limit(
    agent: Name,
    cap: Annotated[str | None, typer.Option("--max", metavar="WEIGHT", help="Largest weight, 0..1.")] = None,
    floor: Annotated[str | None, typer.Option("--min", metavar="WEIGHT", help="Smallest weight, 0..1.")] = None,
    duration: For = None,
    reason: Why = "",
    root: Root = None,
    dry_run: OfDryRun = False,  # noqa: FBT002
) -> None:
    """Cap one agent's weight, or give it a floor.

    Both in one command if both are meant: it replaces the limits that the agent had from an earlier one.
    """
    highest, lowest = _weight("--max", cap), _weight("--min", floor)
    if highest is None and lowest is None:
        fail(USAGE, f"limit {escape_name(agent)}: give --max, --min or both; `unlimit` takes limits back")
    if highest is not None and lowest is not None and lowest > highest:
        fail(USAGE, f"--min {lowest:g} is above --max {highest:g}: give a floor that is not above the cap")
    _check_name(agent)
    seconds = _seconds(duration)
    with _desk(root, dry_run=dry_run) as desk:
        desk.warn_unknown(agent)
        desk.warn_useless(lowest, highest)
        desk.give(desk.order(OrderKind.LIMIT, seconds, reason, agent=agent, cap=highest, floor=lowest))


@app.command()
def unlimit(agent: Name, root: Root = None, dry_run: OfDryRun = False) -> None:  # noqa: FBT002
    """Take back the limits of one agent."""
    _check_name(agent)
    nothing = f"the operator has set no limits on {agent}; `capital-governor limits` lists those there are"
    with _desk(root, dry_run=dry_run, nothing=nothing) as desk:
        if not desk.take_back(lambda old: old.kind is OrderKind.LIMIT and old.agent == agent):
            fail(USAGE, nothing)


@app.command()
def limits(root: Root = None, dry_run: OfDryRun = False, as_json: Json = False) -> None:  # noqa: FBT002
    """List the operator's orders that are in force.

    --json: `orders`, each as in the status file.
    """
    with explained():
        settings, _ = place(root)
        path = Paths(settings.root, dry_run).journal(settings.journal_path)
        orders: tuple[Order, ...] = ()
        if path.exists():
            journal = open_sqlite(path, read_only=True)
            try:
                orders = journal.orders(time.time())
            finally:
                journal.close()
    if as_json:
        terminal.show_json({"orders": [order_document(order) for order in orders]})
    else:
        terminal.write("".join(f"{order.text}\n" for order in orders) or "The operator has ordered nothing\n")


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where an order is written and put down.

    ``running`` is whether a governor is there to obey it, ``rules`` are those that are set, None where that is unknown.
    """

    journal: SqliteJournal
    rules: Rules | None
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
        """Return an order of the user whose process this is, that stands for ``seconds``; None: until taken back."""
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
        """Put the order down in place of the one that it replaces, and show both."""

        def ends(old: Order) -> Order | None:
            same = (old.kind, old.agent) == (order.kind, order.agent)
            return old.ended(self.now, OrderEnd.REPLACED, self.author) if same else None

        replaced = self.journal.change_orders(self.now, ends, order)
        self._show(order.text + (f": {detail}" if detail else ""), *(f"replaces: {old.text}" for old in replaced))

    def take_back(self, which: Callable[[Order], bool]) -> bool:
        """End the orders in force that are ``which`` and show them; return whether there were any."""
        ended = self.journal.change_orders(
            self.now, lambda old: old.ended(self.now, OrderEnd.TAKEN_BACK, self.author) if which(old) else None
        )
        if ended:
            self._show(*(f"taken back: {old.text}" for old in ended))
        return bool(ended)

    def _show(self, *lines: str) -> None:
        terminal.write("".join(f"{line}\n" for line in (*lines, self._effect())))

    def _effect(self) -> str:
        if self.running is None:
            return "whether a governor is running cannot be seen; it takes effect in the next cycle"
        return (
            "a governor is running: it takes effect in its next cycle"
            if self.running
            else "no governor is running: it takes effect when one is, or with `once`"
        )

    def warn_unknown(self, agent: Agent) -> None:
        """Say so where nobody has heard of the agent; it may come yet."""
        state = self.journal.state(LIVE)
        known = set() if state is None else set(state.agents) | set(state.published.shares if state.published else ())
        if agent in known:
            return
        near = difflib.get_close_matches(agent.casefold(), {name.casefold(): name for name in known}, n=1)
        meant = next((name for name in sorted(known) if near and name.casefold() == near[0]), "")
        hint = f"; did you mean {meant}? Then: `unlimit {agent}`" if meant else ""
        warn(f"no agent {agent} is known yet: the limit waits for it{hint}")

    def warn_useless(self, floor: float | None, cap: float | None) -> None:
        """Say so where the settings are stricter than the limit."""
        if self.rules is None:
            return
        if cap is not None and cap > self.rules.max_alloc:
            warn(f"--max {cap:g} is above MAX_ALLOC {self.rules.max_alloc:g}, which stays the cap")
        if floor is not None and floor > self.rules.max_alloc:
            warn(f"--min {floor:g} is above MAX_ALLOC {self.rules.max_alloc:g}, and a cap beats a floor")
        if floor is not None and floor < self.rules.min_alloc:
            warn(f"--min {floor:g} is below MIN_ALLOC {self.rules.min_alloc:g}, which stays the floor")


@contextmanager
def _desk(root: Path | None, *, dry_run: bool, nothing: str = "") -> Iterator[_Desk]:
    """Open the journal for an order. Raises SystemExit where it cannot be written.

    If there is none one is made, unless ``nothing`` says what is wrong then.
    """
    with explained():
        settings, sound = place(root)
        paths = Paths(settings.root, dry_run)
        path = paths.journal(settings.journal_path)
        found = path.exists()
        if nothing and not found:
            fail(USAGE, nothing)
        journal = open_sqlite(path, busy_seconds=BUSY_SECONDS)
        if not found and (problem := locked_out(path)):
            warn(problem)
        try:
            rules = settings.rules() if sound else None
            yield _Desk(journal, rules, time.time(), _author(), is_held(paths.lock))
        finally:
            journal.close()


def _author() -> str:
    """Return the name of the user whose process this is: the kernel's word, not the environment's."""
    number = os.getuid()
    try:
        return clean(pwd.getpwuid(number).pw_name) or f"user {number}"
    except KeyError:
        return f"user {number}"


def _weight(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return TypeAdapter[float](Ratio).validate_python(text)
    except ValidationError:
        fail(USAGE, f"{option} {clean(text, 40)!r} is not a number from 0 to 1; 0.1 is a tenth of what is deployed")


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return duration_seconds(text)
    except ValueError as error:
        fail(USAGE, f"--for {clean(text, 40)!r} {error}")


def _check_name(agent: str) -> None:
    if not valid_name(agent):
        rule = "a name has 1 to 64 of A-Z a-z 0-9 space _ . : - with a letter or digit first"
        fail(USAGE, f"{escape_name(agent)!r} cannot be an agent: {rule}")
    if agent.casefold() in RESERVED_NAMES:
        fail(USAGE, f"{agent!r} is reserved: no agent is called that")
