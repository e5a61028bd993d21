"""The operator's orders, put into the journal of a governor as from another process, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from capital_governor.core.model import Refusal, Snapshot
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.journal.protocol import new_key
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from tests.rigs.cycle_rig import CycleRig


class Restarting(CycleRig):
    """A governor that is killed and started anew before each cycle."""

    def cycle(self, said: Snapshot | Refusal) -> Any:
        self.restart()
        return super().cycle(said)


@contextmanager
def desk(rig: CycleRig) -> Iterator[Any]:
    """The journal, opened a second time, as a command does."""
    journal = open_sqlite(rig.settings.journal_path)
    try:
        yield journal
    finally:
        journal.close()


def give(rig: CycleRig, kind: OrderKind, seconds: float | None = None, **more: Any) -> Order:
    order = Order(
        key=new_key(),
        kind=kind,
        author="anna",
        given_at=rig.now,
        until=None if seconds is None else rig.now + seconds,
        **more,
    )
    with desk(rig) as journal:
        journal.put_orders([order])
    return order


def take_back(rig: CycleRig, order: Order) -> None:
    with desk(rig) as journal:
        journal.put_orders([order.ended(rig.now, OrderEnd.TAKEN_BACK, "bert")])


def kept(rig: CycleRig, order: Order) -> Order:
    """What the journal says of an order now."""
    with desk(rig) as journal:
        (found,) = [each for each in journal.order_history() if each.key == order.key]
    assert isinstance(found, Order)
    return found


def published(rig: CycleRig) -> dict[str, float]:
    said: dict[str, float] = json.loads(rig.primary.read_bytes())["allocations"]
    return said
