"""``accept``: clear a safety hold, so that the governor goes on without missing or faulty data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from capital_governor.cli.order_desk import Desk, open_desk
from capital_governor.cli.order_timing import Needs
from capital_governor.cli.output import fail
from capital_governor.cli.release_command import release_line
from capital_governor.cli.typed import typed
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.core.acceptance import EXPIRES_SECONDS, acceptable, open_hold
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision, Hold

MOST_AGENTS: Final = 20
_FROM_THEN_ON: Final[Mapping[Reason, str]] = {
    Reason.GUARDIAN_LOST: "from then on a payload without a guardian block counts as not paused",
    Reason.TIMESTAMP_LOST: "from then on a payload without a time stamp counts as fresh",
}


def accept(root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """Accept the current hold, once. Raises SystemExit 2 if there is none that ``accept`` ends."""
    status = typed("status", root, dry_run=dry_run)
    nothing = f"there is nothing to accept: no hold is on that `accept` ends; {status} says what is on"
    with open_desk(root, dry_run=dry_run, as_json=as_json, nothing=nothing) as desk:
        hold, cycle = _found(desk)
        if hold is None or cycle is None:
            fail(USAGE, nothing)
        lines = tuple(_effect(desk, hold, cycle))
        order = desk.order(OrderKind.ACCEPT, EXPIRES_SECONDS, "", accepts=hold.reason.value)
        desk.give(order, lambda _: lines, Needs.ACCEPTANCE, hold.detail)
    return OK


def _found(desk: Desk) -> tuple[Hold | None, Decision | None]:
    """Return the hold that can be accepted, and the newest decision that held for it."""
    for entries in desk.look_back():
        newest_first = [entry.decision for entry in entries]
        hold = open_hold(newest_first)
        if hold is not None:
            return hold, next(decision for decision in newest_first if acceptable(decision) == hold)
    return None, None


def _effect(desk: Desk, hold: Hold, cycle: Decision) -> Iterator[str]:
    """Yield what the accept does to capital."""
    if hold.reason in _FROM_THEN_ON:
        yield _FROM_THEN_ON[hold.reason]
    state, trace = cycle.after, cycle.trace
    silent = sorted({*trace.faulty, *trace.absent})
    for agent in silent[:MOST_AGENTS]:
        memory = state.agents[agent]
        yield release_line(agent, state, memory, desk.rules, faulty=agent in trace.faulty)
    if len(silent) > MOST_AGENTS:
        yield f"and {len(silent) - MOST_AGENTS} more agents"
    if silent and not any(memory.member for agent, memory in state.agents.items() if agent not in silent):
        yield "no member is left that others' parts could go to: they go to the reserve"
    yield "the cycle that uses it decides again, so shares may move"
    yield "it waits up to a day for a cycle that holds for this, and lapses when that hold ends by itself"
