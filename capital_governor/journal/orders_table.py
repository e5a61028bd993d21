"""The table of the operator's orders. The store calls the functions that change it inside its transactions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from capital_governor.core.model import EVERYBODY, signed
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.journal.driver import Driver
from capital_governor.journal.protocol import JournalCorruptError, JournalUnavailableError

_OLDER_COLUMNS: Final = (
    "key, kind, author, given_at, until, reason, agent, cap, floor, accepts, ended_at, ended_by, ended, end_detail"
)
_COLUMNS: Final = f"{_OLDER_COLUMNS}, share_out"
_PUT: Final = """INSERT INTO orders ({}) VALUES ({})
    ON CONFLICT (key) DO UPDATE SET ended_at = excluded.ended_at, ended_by = excluded.ended_by,
        ended = excluded.ended, end_detail = excluded.end_detail
    WHERE orders.ended_at IS NULL AND excluded.ended_at IS NOT NULL"""
_IN_FORCE: Final = "WHERE ended_at IS NULL AND (until IS NULL OR until > ?) ORDER BY id"
_HISTORY: Final = "ORDER BY id"
_FIRST: Final = -62_135_596_800.0
_LAST: Final = 253_402_300_799.0
"""The first and last second of the years 1 to 9999."""
_EXPIRED: Final = "SELECT id FROM orders WHERE ended_at < ? OR until < ? LIMIT ?"


def put_orders(db: Driver, orders: Iterable[Order]) -> None:
    """See ``Journal.put_orders``.

    Raises:
        JournalUnavailableError: the journal is of an older schema, and a governor of that version would not know the
            order, or would share out what the cap of a limit is to withhold.
    """
    orders, older = tuple(orders), db.older_orders
    for each in orders if older else ():
        _refuse_unknown(each, db.place)
    columns = _OLDER_COLUMNS if older else _COLUMNS
    count = columns.count(",") + 1
    db.change_many(
        _PUT.format(columns, ", ".join("?" * count)),
        [
            (
                each.key,
                each.kind.value,
                each.author,
                each.given_at,
                each.until,
                each.reason,
                each.agent,
                each.cap,
                each.floor,
                each.accepts,
                each.ended_at,
                each.ended_by,
                "" if each.end is None else each.end.value,
                each.end_detail,
                int(each.share_out),
            )[:count]
            for each in orders
        ],
    )


def in_force(db: Driver, now: float) -> tuple[Order, ...]:
    """See ``Journal.orders``."""
    return tuple(_order(row) for row in db.rows(_select(db, _IN_FORCE), now))


def of_key(db: Driver, key: str) -> Order | None:
    """See ``Journal.order``."""
    return next((_order(row) for row in db.rows(_select(db, "WHERE key = ?"), key)), None)


def all_orders(db: Driver) -> tuple[Order, ...]:
    """Return all stored orders, oldest first."""
    return tuple(_order(row) for row in db.rows(_select(db, _HISTORY)))


def expired_orders(db: Driver, cutoff: float, count: int) -> list[tuple[int]]:
    """Return the ids of orders that ended before ``cutoff``; an order in force never expires by age."""
    return db.rows(_EXPIRED, cutoff, cutoff, count)


def delete_orders(db: Driver, ids: list[tuple[int]]) -> None:
    """Delete the orders with these ids."""
    db.change_many("DELETE FROM orders WHERE id = ?", ids)


def _select(db: Driver, which: str) -> str:
    """Return the statement that reads orders. A cap in a journal of an older schema is shared out, as it was there."""
    columns = f"{_OLDER_COLUMNS}, cap IS NOT NULL" if db.older_orders else _COLUMNS
    return f"SELECT {columns} FROM orders {which}"  # noqa: S608 - constants


def _refuse_unknown(order: Order, place: str) -> None:
    """Raise JournalUnavailableError if a governor of an older version would not obey the order as it is meant."""
    if order.kind in {OrderKind.EXPOSURE, OrderKind.RELEASE} or order.agent == EVERYBODY:
        what, _, _ = order.text.partition(f" {signed(order.author, order.until, order.reason)}")
        why = f"does not know `{what}`: "
    elif order.cap is not None and not order.share_out:
        why = "would give what the cap takes to the others: add --share-out if that is meant, or "
    else:
        return
    remedy = "start the governor of this version and give the order again"
    raise JournalUnavailableError(f"{place} is of an older version: a governor of that version {why}{remedy}")


def _order(row: tuple[Any, ...]) -> Order:
    key, kind, author, given_at, until, reason, agent, cap, floor, accepts, *end, share_out = row
    ended_at, ended_by, ended, end_detail = end
    numbers = (value for value in (given_at, until, cap, floor, ended_at) if value is not None)
    try:
        what, how = OrderKind(kind), OrderEnd(ended) if ended else None
        known = Reason(accepts) if what is OrderKind.ACCEPT else None
    except ValueError as error:
        raise JournalCorruptError(f"a stored order cannot be read: {key}: {error}") from None
    if not all(isinstance(number, float) for number in numbers):
        raise JournalCorruptError(f"a stored order cannot be read: {key}: a time or a weight is no number")
    # An order that cannot be shown or obeyed would fail every cycle until it ends.
    if not all(_FIRST <= moment <= _LAST for moment in (given_at, until, ended_at) if moment is not None):
        raise JournalCorruptError(f"a stored order cannot be read: {key}: a time is outside of the years 1 to 9999")
    if not all(0.0 <= weight <= 1.0 for weight in (cap, floor) if weight is not None):
        raise JournalCorruptError(f"a stored order cannot be read: {key}: a weight is outside of 0 to 1")
    if share_out not in (0, 1):
        raise JournalCorruptError(f"a stored order cannot be read: {key}: share_out is neither 0 nor 1")
    return Order(
        key=key,
        kind=what,
        author=author,
        given_at=given_at,
        until=until,
        reason=reason,
        agent=agent,
        cap=cap,
        floor=floor,
        accepts="" if known is None else known.value,
        ended_at=ended_at,
        ended_by=ended_by,
        end=how,
        end_detail=end_detail,
        share_out=share_out == 1,
    )
