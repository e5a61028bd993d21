"""``accept``: clear a safety hold, so that the governor goes on without missing or faulty data."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from capital_governor.cli.order_desk import open_desk
from capital_governor.cli.output import fail
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.core.acceptance import EXPIRES_SECONDS, open_hold
from capital_governor.core.orders import OrderKind
from capital_governor.journal.protocol import LIVE

LOOK_BACK: Final = (4, 300)
"""How many of the last cycles are searched for the hold: first a few, then about a day."""


def accept(root: Path | None, *, dry_run: bool) -> int:
    """Accept the current hold, once. Raises SystemExit 2 if there is none that ``accept`` ends."""
    nothing = "there is nothing to accept: no hold is on that `accept` ends; `capital-governor status` shows the reason"
    with open_desk(root, dry_run=dry_run, nothing=nothing) as desk:
        found = None
        for last in LOOK_BACK:
            found = found or open_hold(
                entry.decision for entry in reversed(list(desk.journal.entries(LIVE, last=last)))
            )
        if found is None:
            fail(USAGE, nothing)
        desk.give(desk.order(OrderKind.ACCEPT, EXPIRES_SECONDS, "", accepts=found.reason.value), found.detail)
    return OK
