"""``release``: share out the part of one agent that is silent."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from capital_governor.cli.figures import percent
from capital_governor.cli.limit_command import check_name
from capital_governor.cli.order_desk import Desk, open_desk
from capital_governor.cli.output import fail
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.core.acceptance import EXPIRES_SECONDS
from capital_governor.core.model import WHOLE, Agent, Snapshot, State, utc_text
from capital_governor.core.orders import OrderKind
from capital_governor.journal.protocol import LIVE

LOOK_BACK: Final = 300
"""How many of the last cycles are searched for the last payload."""


def release(agent: Agent, root: Path | None, *, dry_run: bool) -> int:
    """Release one agent. Raises SystemExit 2 if it is no member, or its last record was good."""
    check_name(agent)
    nothing = f"{agent} is no member of the fleet: there is nothing to release; `capital-governor status` lists them"
    with open_desk(root, dry_run=dry_run, nothing=nothing) as desk:
        head = desk.journal.head(LIVE)
        memory = None if head is None else head.state.agents.get(agent)
        if head is None or memory is None or not memory.member:
            fail(USAGE, nothing)
        good_at = _last_record_good(desk, agent)
        if good_at is not None:
            fail(
                USAGE,
                f"{agent} had a good record in the last payload, {utc_text(good_at)}: only a silent agent is released; "
                f"to take its capital away, use `limit {shlex.quote(agent)} --max 0`",
            )
        order = desk.order(OrderKind.RELEASE, EXPIRES_SECONDS, "", agent=agent)
        desk.give(order, effect=lambda: (_effect(agent, head.state, lapsed=memory.lapsed),))
    return OK


def _last_record_good(desk: Desk, agent: Agent) -> float | None:
    """Return when the newest payload was decided on, if it has a good record of the agent; else None."""
    for entry in reversed(list(desk.journal.entries(LIVE, last=LOOK_BACK))):
        if isinstance(entry.inputs.payload, Snapshot):
            return entry.at if agent in entry.inputs.payload.metrics else None
    return None


def _effect(agent: Agent, state: State, *, lapsed: bool) -> str:
    plan = {} if state.published is None else state.published.plan
    part = f"its part of the plan, {percent(plan.get(agent, 0) / WHOLE)}, is shared out"
    when = "in the next decided cycle" if lapsed else "when MEMBERSHIP_GRACE is over"
    return f"{agent}: {part} {when}, unless a good record comes first"
