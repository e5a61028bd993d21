"""What an order does to published shares, in words for the answer of a command."""

from __future__ import annotations

from typing import Final

from capital_governor.cli.figures import percent
from capital_governor.cli.order_desk import Desk
from capital_governor.cli.place import published
from capital_governor.core.decision import resolve
from capital_governor.core.model import WHOLE, Inputs, Ppm, Publication, Refusal, Rules, State
from capital_governor.core.orders import ceiling_of, limits_of
from capital_governor.core.reason import Reason

MOST_AGENTS: Final = 20
"""So many agents are listed, those that lose most."""
MOVE_TOO: Final = "a move in the same cycle may change shares as well, within all limits"


def cut_lines(desk: Desk) -> tuple[str, ...]:
    """Return what the next cycle cuts at least, by all orders in force: from published values alone, as in a hold.

    The order is stored already. What is published is read from the primary file: faster than from the journal. A file
    that cannot be read leaves the effect unknown, and the order valid.
    """
    found, problem = published(desk.primary)
    if problem:
        return (f"what it cuts cannot be shown: {problem}",)
    if found is None:
        return ("nothing is published yet: it applies from the first allocation on",)
    # Without readable settings only the orders count.
    rules = Rules(min_alloc=0.0, max_alloc=1.0) if desk.limits is None else desk.limits
    orders = desk.journal.orders(desk.now)
    inputs = Inputs(
        now=desk.now,
        payload=Refusal(Reason.FETCH_FAILED, ""),
        limits=limits_of(orders),
        ceiling=ceiling_of(orders),
    )
    after = resolve(inputs, State(published=found), rules).proposal
    if after is None:
        return ("no published share is above it: nothing is cut",)
    return (*_differences(found, after), MOVE_TOO)


def _differences(before: Publication, after: Publication) -> list[str]:
    lines = []
    if after.exposure < before.exposure:
        lines.append(f"exposure {percent(before.exposure)} -> at most {percent(after.exposure)}")
    losses = {agent: share - after.shares[agent] for agent, share in before.shares.items()}
    fallen = sorted((agent for agent, loss in losses.items() if loss > 0), key=lambda agent: (-losses[agent], agent))
    lines += [
        f"{agent} {_share(before.shares[agent])} -> {_share(after.shares[agent])}" for agent in fallen[:MOST_AGENTS]
    ]
    if len(fallen) > MOST_AGENTS:
        lines.append(f"and {len(fallen) - MOST_AGENTS} more agents")
    return [*lines, f"reserve {_share(before.reserve)} -> {_share(after.reserve)}"]


def _share(share: Ppm) -> str:
    return percent(share / WHOLE)
