"""``hold`` and ``resume``: keep all shares as they are, and lift that hold."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from capital_governor.cli.order_desk import open_desk, order_seconds
from capital_governor.cli.order_timing import Needs
from capital_governor.cli.output import fail
from capital_governor.cli.typed import typed
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.core.orders import OrderKind

_KEEPS: Final = "from then on all shares stay as they are; only `exposure --max` and `limit --max` still cut"
_GOES_ON: Final = "from then on shares may move again"


def hold(root: Path | None, duration: str | None, reason: str, *, dry_run: bool, as_json: bool) -> int:
    """Keep all shares as they are, until ``resume`` or for ``duration``."""
    seconds = order_seconds(duration)
    with open_desk(root, dry_run=dry_run, as_json=as_json) as desk:
        desk.give(desk.order(OrderKind.HOLD, seconds, reason), lambda _: (_KEEPS,), Needs.CYCLE)
    return OK


def resume(root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """Lift the hold. Raises SystemExit 2 if there is none."""
    status = typed("status", root, dry_run=dry_run)
    nothing = f"no hold by an operator is on; {status} says what keeps the shares still"
    with open_desk(root, dry_run=dry_run, as_json=as_json, nothing=nothing) as desk:
        if not desk.take_back(lambda old: old.kind is OrderKind.HOLD, lambda _: (_GOES_ON,), Needs.DECISION):
            fail(USAGE, nothing)
    return OK
