"""``hold`` and ``resume``: keep all shares as they are, and lift that hold."""

from __future__ import annotations

from pathlib import Path

from capital_governor.cli.order_desk import open_desk, order_seconds
from capital_governor.cli.output import fail
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.core.orders import OrderKind


def hold(root: Path | None, duration: str | None, reason: str, *, dry_run: bool) -> int:
    """Keep all shares as they are, until ``resume`` or for ``duration``."""
    seconds = order_seconds(duration)
    with open_desk(root, dry_run=dry_run) as desk:
        desk.give(desk.order(OrderKind.HOLD, seconds, reason))
    return OK


def resume(root: Path | None, *, dry_run: bool) -> int:
    """Lift the hold. Raises SystemExit 2 if there is none."""
    nothing = "there is no hold to take back; `capital-governor status` says what keeps the shares still"
    with open_desk(root, dry_run=dry_run, nothing=nothing) as desk:
        if not desk.take_back(lambda old: old.kind is OrderKind.HOLD):
            fail(USAGE, nothing)
    return OK
