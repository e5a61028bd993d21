"""Orders: what the operator's commands put into the journal, and the governor obeys from its next cycle on.

An order is one row with its beginning and its end, so what was ordered, by whom and until when stays on record like any
other history. It carries a key of its own, and once it has ended it never comes into force again: the store in memory
and the one on the disk can hold the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from capital_governor.core.model import Agent, Limit, OperatorHold, signed


class OrderKind(StrEnum):
    """What is ordered."""

    HOLD = "hold"
    LIMIT = "limit"
    ACCEPT = "accept"


class OrderEnd(StrEnum):
    """How an order ended; one whose time is over has no other end."""

    TAKEN_BACK = "taken back"
    REPLACED = "replaced"
    USED = "used"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order of the operator.

    Args:
        key: tells it from every other order ever given.
        kind: hold, limit or accept.
        author: user name of who gave it.
        given_at: seconds since 1970 UTC.
        until: when it is over by itself, seconds since 1970 UTC; None: when it is taken back.
        reason: the author's words, fit for a log line.
        agent: of a limit: whose.
        cap: of a limit: the largest weight, 0..1; None: none.
        floor: of a limit: the smallest weight, 0..1; None: none.
        accepts: of an accept: the hold that it is about, by its reason; empty for all else.
        ended_at: when it ended before its time; None while it is in force.
        ended_by: who ended it: a user name, or "governor".
        end: how.
        end_detail: in words, what an accept let pass, or why it lapsed.
    """

    key: str
    kind: OrderKind
    author: str
    given_at: float
    until: float | None = None
    reason: str = ""
    agent: Agent = ""
    cap: float | None = None
    floor: float | None = None
    accepts: str = ""
    ended_at: float | None = None
    ended_by: str = ""
    end: OrderEnd | None = None
    end_detail: str = ""

    @property
    def text(self) -> str:
        """The order in words, with author, end and reason."""
        what = f"accept of {self.accepts}" if self.kind is OrderKind.ACCEPT else self.kind.value
        if self.kind is OrderKind.LIMIT:
            ends = (("--max", self.cap), ("--min", self.floor))
            what = " ".join(("limit", self.agent, *(f"{name} {value:g}" for name, value in ends if value is not None)))
        return f"{what} {signed(self.author, self.until, self.reason)}"

    def in_force(self, now: float) -> bool:
        """Whether it is to be obeyed at ``now``, seconds since 1970 UTC."""
        return self.ended_at is None and (self.until is None or now < self.until)

    def ended(self, now: float, end: OrderEnd, by: str, detail: str = "") -> Order:
        """Return it as one that has ended."""
        return replace(self, ended_at=now, ended_by=by, end=end, end_detail=detail)


def hold_of(orders: Iterable[Order]) -> OperatorHold | None:
    """Return the newest hold, as ``decide`` takes it."""
    holds = [order for order in orders if order.kind is OrderKind.HOLD]
    if not holds:
        return None
    newest = max(holds, key=lambda order: order.given_at)
    return OperatorHold(newest.author, newest.reason, newest.until)


def limits_of(orders: Iterable[Order]) -> tuple[Limit, ...]:
    """Return the limits by agent, as ``decide`` takes them."""
    limits = sorted((order for order in orders if order.kind is OrderKind.LIMIT), key=lambda order: order.agent)
    return tuple(
        Limit(order.agent, order.author, order.cap, order.floor, order.until, order.reason) for order in limits
    )


def accept_of(orders: Iterable[Order]) -> Order | None:
    """Return the newest accept that has not been used."""
    return max((o for o in orders if o.kind is OrderKind.ACCEPT), key=lambda order: order.given_at, default=None)


def replaced(orders: Sequence[Order], now: float) -> tuple[Order, ...]:
    """Return those that another of their kind, for the same agent, was given after, as ended by that at ``now``."""
    newest = {(order.kind, order.agent): order for order in sorted(orders, key=lambda order: order.given_at)}
    old = (order for order in orders if newest[order.kind, order.agent] is not order)
    return tuple(order.ended(now, OrderEnd.REPLACED, "governor") for order in old)
