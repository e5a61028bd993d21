"""``release``: share out the part of one agent that is silent."""

from __future__ import annotations

import shlex
from pathlib import Path

from capital_governor.cli.limit_command import check_name
from capital_governor.cli.order_desk import Desk, open_desk
from capital_governor.cli.order_timing import Needs
from capital_governor.cli.output import fail
from capital_governor.cli.typed import typed
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.core.acceptance import EXPIRES_SECONDS
from capital_governor.core.model import Agent, Memory, Rules, Snapshot, State, utc_text
from capital_governor.core.orders import OrderKind
from capital_governor.journal.protocol import LIVE, Entry
from capital_governor.wording.amounts import count_text, percent_text


def release(agent: Agent, root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """Release one agent. Raises SystemExit 2 if it is no member, or its last record was good."""
    check_name(agent)
    status = typed("status", root, dry_run=dry_run)
    nothing = f"{agent} is no member of the fleet: there is nothing to release; {status} lists the members"
    with open_desk(root, dry_run=dry_run, as_json=as_json, nothing=nothing) as desk:
        head = desk.journal.head(LIVE)
        memory = None if head is None else head.state.agents.get(agent)
        if head is None or memory is None or not memory.member:
            fail(USAGE, nothing)
        last = _last_payload(desk)
        payload = None if last is None else last.inputs.payload
        if last is not None and isinstance(payload, Snapshot) and agent in payload.metrics:
            cut = typed(f"limit {shlex.quote(agent)} --max 0", root, dry_run=dry_run)
            fail(
                USAGE,
                f"{agent} had a good record in the last payload, {utc_text(last.at)}: only a silent agent is released; "
                f"to take its capital away, use {cut}",
            )
        faulty = isinstance(payload, Snapshot) and agent in payload.faults
        line = release_line(agent, head.state, memory, desk.rules, faulty=faulty)
        order = desk.order(OrderKind.RELEASE, EXPIRES_SECONDS, "", agent=agent)
        desk.give(order, lambda _: (line,), Needs.MOVE)
    return OK


def release_line(agent: Agent, state: State, memory: Memory, rules: Rules | None, *, faulty: bool) -> str:
    """Return what is shared out if an agent is released or its absence accepted, and when.

    Args:
        agent: a member without a good record.
        state: of the governor.
        memory: of the agent.
        rules: of a decision; None if the settings are faulty.
        faulty: it has a record, a faulty one.
    """
    line = 0 if state.published is None else state.published.plan.get(agent, 0)
    part, first = f"its part of the plan, {percent_text(line)}, is shared out", "unless a good record comes first"
    if memory.lapsed:
        return f"{agent}: {part} in the next cycle that decides, {first}"
    if faulty:
        grace = "when it has had no record for longer than MEMBERSHIP_GRACE"
        return f"{agent}: while faulty records come, it keeps its share; {part} {grace}, {first}"
    when = "when MEMBERSHIP_GRACE is over"
    if rules is not None:
        left = max(1, rules.membership_grace_cycles - memory.absent + 1)
        when += f", in {count_text(left, 'cycle')} that {'decides' if left == 1 else 'decide'}"
    return f"{agent}: {part} {when}, {first}"


def _last_payload(desk: Desk) -> Entry | None:
    """Return the newest cycle that had a readable payload."""
    for newest_first in desk.look_back():
        for entry in newest_first:
            if isinstance(entry.inputs.payload, Snapshot):
                return entry
    return None
