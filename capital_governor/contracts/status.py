"""The status file: the operator's orders in it, and what a governor that lost its journal reads back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from capital_governor.contracts.instants import instant, read_instant
from capital_governor.contracts.text import clean, valid_name
from capital_governor.core.model import DRAWDOWN, EVERYBODY, REGIME, Latches, iso_text
from capital_governor.core.orders import Order, OrderKind
from capital_governor.core.reason import Reason

LATCHES: Final = ("paused", "guardian_seen", "timestamp_seen")
"""The latches in a status file: those that keep a hold."""


def order_document(order: Order) -> dict[str, Any]:
    """Return an order as plain data: times as ISO 8601 in UTC, weights 0..1, null for none."""
    return {
        "key": order.key,
        "text": order.text,
        "order": order.kind.value,
        "agent": order.agent or None,
        "max": order.cap,
        "min": order.floor,
        "share_out": order.share_out,
        "accepts": order.accepts or None,
        "author": order.author,
        "reason": order.reason,
        "given_at": iso_text(order.given_at),
        "until": None if order.until is None else iso_text(order.until),
    }


def standing_orders(content: bytes) -> tuple[Order, ...]:
    """Return the holds, limits and exposure orders in a status file, times to the second; none if it cannot be read.

    Accepts and releases are left out, since only the journal knows whether one was used.
    """
    try:
        found = tuple(_order(each) for each in json.loads(content)["orders"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
    return tuple(order for order in found if order.kind not in {OrderKind.ACCEPT, OrderKind.RELEASE})


@dataclass(frozen=True, slots=True)
class Remembered:
    """The state in a status file. It has neither the cycles of MEMBERS_GONE nor what an operator accepted.

    Args:
        at: time of the cycle, in seconds since 1970 UTC.
        latches: the latches in it.
        multipliers: the last known exposure multipliers.
        generation: the last generation that the operator could see; 0 if none.
        undated: the time has no zone. Then ``at`` is the later possible time, and multipliers may only lower exposure.
        files_problem: why the files could not be written; empty if they could.
    """

    at: float
    latches: Latches
    multipliers: Mapping[str, float]
    generation: int = 0
    undated: bool = False
    files_problem: str = ""


def remembered(content: bytes) -> Remembered | None:
    """Return the state in a status file; None if it cannot be read or has impossible values."""
    try:
        document = json.loads(content)
        when, latches = read_instant(document["timestamp"]), {name: document["latches"][name] for name in LATCHES}
        known = {name: document["multipliers"].get(name) for name in (REGIME, DRAWDOWN)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if when is None or not all(isinstance(latch, bool) for latch in latches.values()):
        return None
    multipliers = {name: value for name, value in known.items() if value is not None}
    if not all(type(value) in (int, float) and 0 <= value <= 1 for value in multipliers.values()):
        return None
    values, generation = {name: float(value) for name, value in multipliers.items()}, document.get("generation")
    shown = generation if type(generation) is int else 0
    held = document.get("reason") == Reason.FILES_UNWRITABLE
    problem = clean(document.get("detail"), 500) if held else ""
    return Remembered(when.latest, Latches(**latches), values, shown, undated=when.naive, files_problem=problem)


def _order(said: dict[str, Any]) -> Order:
    """Reverse ``order_document``. Raises ValueError, KeyError, TypeError or AttributeError."""
    given_at, until, agent = instant(said["given_at"]), instant(said["until"]), said["agent"] or ""
    if given_at is None or (until is None and said["until"] is not None):
        raise ValueError("no times")
    order = Order(
        key=said["key"],
        kind=OrderKind(said["order"]),
        author=said["author"],
        given_at=given_at,
        until=until,
        reason=said["reason"],
        agent=agent,
        cap=said["max"],
        floor=said["min"],
        # Before there was `share_out`, what a cap took was shared out.
        share_out=said.get("share_out", said["max"] is not None),
        accepts=said["accepts"] or "",
    )
    weights = [weight for weight in (order.cap, order.floor) if weight is not None]
    if not all(isinstance(weight, int | float) and 0 <= weight <= 1 for weight in weights):
        raise ValueError(f"no weights: {weights}")
    if not (
        order.key and order.author and all(text == clean(text) for text in (order.key, order.author, order.reason))
    ):
        raise ValueError("no text as the operator's commands write it")
    if agent and agent != EVERYBODY and not valid_name(agent):
        raise ValueError("no agent's name")
    if type(order.share_out) is not bool:
        raise ValueError("no yes or no")
    return order
