"""``limit``, ``unlimit`` and ``limits``: the operator's cap or floor for one agent's weight, and what is in force."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path
from typing import Final

from capital_governor.adapters.paths import Paths
from capital_governor.cli.failures import explained
from capital_governor.cli.order_desk import Desk, open_desk, order_ratio, order_seconds, orders_in_force
from capital_governor.cli.order_effect import limit_lines, loosening_lines
from capital_governor.cli.order_timing import Needs
from capital_governor.cli.output import fail, show_json, warn
from capital_governor.cli.place import place, published, published_shares
from capital_governor.cli.terminal_page import show_lines
from capital_governor.cli.typed import typed
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.contracts.status import order_document
from capital_governor.contracts.text import RESERVED_NAMES, escape_name, valid_name
from capital_governor.core.model import EVERYBODY, WHOLE, Agent, State
from capital_governor.core.orders import Order, OrderKind
from capital_governor.journal.protocol import LIVE
from capital_governor.wording.amounts import percent_text

UNCHANGED: Final = "it has not changed a published share: nothing changes now"


def limit(  # noqa: PLR0913 - one argument per option
    agent: Agent,
    cap: str | None,
    floor: str | None,
    duration: str | None,
    reason: str,
    root: Path | None,
    *,
    share_out: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Set a cap or a floor for the weight of one agent or of all, or show what limits it.

    Raises SystemExit 2 for a wrong value, a wrong name, or options that need --max or --min.
    """
    highest, lowest = _weight("--max", cap), _weight("--min", floor)
    if highest is None and share_out:
        fail(USAGE, f"limit {escape_name(agent)}: --share-out needs --max, since it shares out what a cap takes")
    if highest is None and lowest is None:
        if duration is not None or reason:
            fail(USAGE, f"limit {escape_name(agent)}: give --max, --min or both; `unlimit` takes limits back")
        check_limited(agent)
        return _show(agent, root, dry_run=dry_run, as_json=as_json)
    if highest is not None and lowest is not None and lowest > highest:
        fail(USAGE, f"--min {lowest:g} is above --max {highest:g}: give a floor that is not above the cap")
    check_limited(agent)
    seconds = order_seconds(duration)
    with open_desk(root, dry_run=dry_run, as_json=as_json) as desk:
        _warn_unknown(desk, agent)
        _warn_useless(desk, lowest, highest)
        order = desk.order(
            OrderKind.LIMIT, seconds, reason, agent=agent, cap=highest, floor=lowest, share_out=share_out
        )
        needs = Needs.MOVE if highest is None else Needs.CUT
        desk.give(order, lambda replaced: limit_lines(desk, order, replaced), needs)
    return OK


def unlimit(agent: Agent, root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """Remove the limits of one agent. Raises SystemExit 2 if there are none."""
    check_limited(agent)
    every = typed("limits", root, dry_run=dry_run)
    nothing = f"no operator limit is on {agent}; {every} lists the orders in force"
    with open_desk(root, dry_run=dry_run, as_json=as_json, nothing=nothing) as desk:

        def which(old: Order) -> bool:
            return old.kind is OrderKind.LIMIT and old.agent == agent

        # What a cap withheld is given back without a move.
        withheld = any(
            each.cap is not None and not each.share_out for each in desk.journal.orders(desk.now) if which(each)
        )
        needs = Needs.DECISION if withheld else Needs.MOVE
        if not desk.take_back(which, lambda ended: loosening_lines(desk, ended) or (UNCHANGED,), needs):
            fail(USAGE, nothing)
    return OK


def limits(root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """List the orders in force."""
    with explained():
        where = place(root)
        orders = orders_in_force(Paths(where.root, dry_run).journal(where.journal_path))
    if as_json:
        show_json({"root": str(where.root), "orders": [order_document(order) for order in orders]})
    else:
        words = [order.text for order in orders] or ["No operator orders"]
        show_lines((f"root: {where.root}", *words))
    return OK


def _show(agent: Agent, root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    with explained():
        where = place(root)
        paths = Paths(where.root, dry_run)
        every, whose = orders_in_force(paths.journal(where.journal_path)), {agent, EVERYBODY}
        orders = tuple(order for order in every if order.kind is OrderKind.LIMIT and order.agent in whose)
        found, problem = published(paths.primary)
    if problem:
        warn(problem)
    share = None if found is None or agent not in found.shares else found.shares[agent] / WHOLE
    withheld = 0.0 if found is None else found.withheld.get(agent, 0) / WHOLE
    if as_json:
        documents = [order_document(order) for order in orders]
        beside = {"agent": agent, "share": share, "withheld": withheld}
        show_json({"root": str(where.root), **beside, "orders": documents})
        return OK
    lines = [order.text for order in orders] or [f"no operator limit is on {agent}"]
    if agent != EVERYBODY:
        kept = f", {percent_text(withheld)} more is withheld" if withheld else ""
        lines.insert(
            0, f"{agent}: no share is published" if share is None else f"{agent}: share {percent_text(share)}{kept}"
        )
    show_lines((f"root: {where.root}", *lines))
    return OK


def _warn_unknown(desk: Desk, agent: Agent) -> None:
    """Warn if no agent has that name yet; one may join later."""
    if agent == EVERYBODY or agent in published_shares(desk.primary)[0]:
        return  # the common case, faster than reading the journal
    head = desk.journal.head(LIVE)
    state = State() if head is None else head.state
    known = set(state.agents) | set(state.published.shares if state.published else ())
    if agent in known:
        return
    near = difflib.get_close_matches(agent.casefold(), {name.casefold(): name for name in known}, n=1)
    meant = next((name for name in sorted(known) if near and name.casefold() == near[0]), "")
    back = typed(f"unlimit {shlex.quote(agent)}", desk.option, dry_run=desk.dry_run)
    hint = f"; did you mean {meant}? Then take it back with {back}" if meant else ""
    warn(f"no agent {agent} is known yet: the limit waits for it{hint}")


def _warn_useless(desk: Desk, floor: float | None, cap: float | None) -> None:
    """Warn if the settings are stricter than the limit."""
    if desk.rules is None:
        return
    min_alloc, max_alloc = desk.rules.min_alloc, desk.rules.max_alloc
    if cap is not None and cap > max_alloc:
        warn(f"--max {cap:g} is above MAX_ALLOC {max_alloc:g}, which stays the cap")
    if floor is not None and floor > max_alloc:
        warn(f"--min {floor:g} is above MAX_ALLOC {max_alloc:g}, and a cap beats a floor")
    if floor is not None and floor < min_alloc:
        warn(f"--min {floor:g} is below MIN_ALLOC {min_alloc:g}, which stays the floor")


def _weight(option: str, text: str | None) -> float | None:
    return None if text is None else order_ratio(option, text, "0.1 is a tenth of what is deployed")


def check_limited(agent: str) -> None:
    """Raise SystemExit 2 if no limit can be on that: neither an agent's name nor everybody."""
    if agent != EVERYBODY:
        check_name(agent)


def check_name(agent: str) -> None:
    """Raise SystemExit 2 if no agent can have that name."""
    if not valid_name(agent):
        rule = "a name has 1 to 64 of A-Z a-z 0-9 space _ . : - with a letter or digit first"
        fail(USAGE, f"{escape_name(agent)!r} cannot be an agent: {rule}")
    if agent.casefold() in RESERVED_NAMES:
        fail(USAGE, f"{agent!r} is reserved: no agent is called that")
