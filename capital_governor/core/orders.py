"""The operator's orders: commands put them into the journal, and the governor obeys them from its next cycle on.

An order is one row with its beginning and its end, so the journal keeps who ordered what and until when. Each order has
a unique key and never comes into force again once it has ended, so the journal on disk and the one in memory can hold
the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from capital_governor.core.model import Agent, Ceiling, Limit, OperatorHold, signed


class OrderKind(StrEnum):
    """The kinds of orders."""

    HOLD = "hold"
    LIMIT = "limit"
    ACCEPT = "accept"
    EXPOSURE = "exposure"
    RELEASE = "release"


class OrderEnd(StrEnum):
    """How an order ended; an order that expired has none of these."""

    TAKEN_BACK = "taken back"
    REPLACED = "replaced"
    USED = "used"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order of the operator.

    Args:
        key: unique among all orders.
        kind: hold, limit, accept, exposure or release.
        author: user name of who gave it.
        given_at: seconds since 1970 UTC.
        until: when it expires, seconds since 1970 UTC; None: not before it is taken back.
        reason: the author's reason, safe for a log line.
        agent: the agent of a limit or a release; ``*`` in a limit: every agent.
        cap: the largest weight of a limit, or the largest exposure, 0..1; None: no cap.
        floor: the smallest weight of a limit, 0..1; None: no floor.
        share_out: what a limit's cap takes is given to the others, not withheld.
        accepts: the reason of the hold that an accept ends; empty for other orders.
        ended_at: when it ended before it expired; None while it is in force.
        ended_by: who ended it: a user name, or "governor".
        end: how it ended.
        end_detail: what an accept let pass, or why it lapsed, in words.
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
    share_out: bool = False
    accepts: str = ""
    ended_at: float | None = None
    ended_by: str = ""
    end: OrderEnd | None = None
    end_detail: str = ""

    @property
    def text(self) -> str:
        """The order in words, with author, end and reason."""
        what = f"accept of {self.accepts}" if self.kind is OrderKind.ACCEPT else self.kind.value
        if self.kind is OrderKind.RELEASE:
            what = f"release {self.agent}"
        elif self.kind in {OrderKind.LIMIT, OrderKind.EXPOSURE}:
            ends = (("--max", self.cap), ("--min", self.floor))
            words = [f"{name} {value:g}" for name, value in ends if value is not None]
            words += ["--share-out"] if self.share_out else []
            what = " ".join((self.kind.value, *filter(None, (self.agent,)), *words))
        return f"{what} {signed(self.author, self.until, self.reason)}"

    def in_force(self, now: float) -> bool:
        """Whether the order is in force at ``now``, seconds since 1970 UTC."""
        return self.ended_at is None and (self.until is None or now < self.until)

    def ended(self, now: float, end: OrderEnd, by: str, detail: str = "") -> Order:
        """Return the ended order."""
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
        Limit(order.agent, order.author, order.cap, order.floor, order.until, order.reason, order.share_out)
        for order in limits
    )


def ceiling_of(orders: Iterable[Order]) -> Ceiling | None:
    """Return the newest upper limit on exposure, as ``decide`` takes it."""
    given = (order for order in orders if order.kind is OrderKind.EXPOSURE)
    newest = max(given, key=lambda order: order.given_at, default=None)
    if newest is None or newest.cap is None:
        return None
    return Ceiling(newest.cap, newest.author, newest.reason, newest.until)


def releases_of(orders: Iterable[Order]) -> tuple[Order, ...]:
    """Return the releases that no cycle has used."""
    return tuple(order for order in orders if order.kind is OrderKind.RELEASE)


def accept_of(orders: Iterable[Order]) -> Order | None:
    """Return the newest accept that has not been used."""
    return max((o for o in orders if o.kind is OrderKind.ACCEPT), key=lambda order: order.given_at, default=None)


def replaced(orders: Sequence[Order], now: float) -> tuple[Order, ...]:
    """Return the orders that a later one of the same kind and agent replaces, as ended at ``now``."""
    newest = {(order.kind, order.agent): order for order in sorted(orders, key=lambda order: order.given_at)}
    old = (order for order in orders if newest[order.kind, order.agent] is not order)
    return tuple(order.ended(now, OrderEnd.REPLACED, "governor") for order in old)
