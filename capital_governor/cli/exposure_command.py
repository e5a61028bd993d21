"""``exposure``: the operator's upper limit on exposure: give it, show it, take it back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from capital_governor.adapters.paths import Paths
from capital_governor.cli.failures import explained
from capital_governor.cli.order_desk import Desk, open_desk, order_ratio, order_seconds, orders_in_force
from capital_governor.cli.order_effect import cut_lines, rise_lines
from capital_governor.cli.order_timing import Needs
from capital_governor.cli.output import fail, show_json, warn
from capital_governor.cli.place import place, published
from capital_governor.cli.terminal_page import show_lines
from capital_governor.cli.typed import typed
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.contracts.status import order_document
from capital_governor.core.orders import Order, OrderKind
from capital_governor.wording.amounts import percent_text


def exposure(
    cap: str | None,
    duration: str | None,
    reason: str,
    root: Path | None,
    *,
    lift: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Limit exposure, lift that limit, or show it. Raises SystemExit 2 for a wrong value or options that exclude."""
    if lift:
        if cap is not None or duration is not None or reason:
            fail(USAGE, "exposure --lift takes neither --max nor --for or --reason; give it alone")
        return _lift(root, dry_run=dry_run, as_json=as_json)
    if cap is None:
        if duration is not None or reason:
            fail(USAGE, "exposure: --for and --reason need --max; without options the command shows the order in force")
        return _show(root, dry_run=dry_run, as_json=as_json)
    highest = order_ratio("--max", cap, "0.5 is half of all capital")
    seconds = order_seconds(duration)
    with open_desk(root, dry_run=dry_run, as_json=as_json) as desk:
        order = desk.order(OrderKind.EXPOSURE, seconds, reason, cap=highest)
        desk.give(order, lambda replaced: _effect(desk, order, replaced), Needs.CUT)
    return OK


def _lift(root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    limits = typed("limits", root, dry_run=dry_run)
    nothing = f"there is no exposure order to take back; {limits} lists the orders in force"
    with open_desk(root, dry_run=dry_run, as_json=as_json, nothing=nothing) as desk:
        lifted = desk.take_back(
            lambda old: old.kind is OrderKind.EXPOSURE, lambda ended: rise_lines(desk, ended), Needs.MOVE
        )
        if not lifted:
            fail(USAGE, nothing)
    return OK


def _effect(desk: Desk, order: Order, replaced: Sequence[Order]) -> tuple[str, ...]:
    raised = [old for old in replaced if old.cap is not None and order.cap is not None and old.cap < order.cap]
    return (*cut_lines(desk), *rise_lines(desk, raised))


def _show(root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    with explained():
        where = place(root)
        paths = Paths(where.root, dry_run)
        every = orders_in_force(paths.journal(where.journal_path))
        orders = tuple(order for order in every if order.kind is OrderKind.EXPOSURE)
        found, problem = published(paths.primary)
    if problem:
        warn(problem)
    if as_json:
        show_json(
            {
                "root": str(where.root),
                "exposure": None if found is None else found.exposure,
                "orders": [order_document(order) for order in orders],
            }
        )
        return OK
    now = "nothing is published" if found is None else f"published exposure {percent_text(found.exposure)}"
    words = [order.text for order in orders] or ["no operator order on exposure"]
    show_lines((f"root: {where.root}", now, *words))
    return OK
