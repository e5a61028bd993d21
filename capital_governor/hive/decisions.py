"""The decisions of ``performance_attribution.json``, agent by agent, with whatever is wrong kept beside them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

FUTURE_TOLERANCE_SECONDS: Final = 60.0
"""Clocks of two machines differ; what is further ahead than this is no decision yet."""
MOST_PNL: Final = 1e12
"""No trade of any account that this is for; it also keeps every sum finite."""
KEPT_DECISIONS: Final = 1_000
"""NeoLight keeps no more than this many, so a busy fleet's file reaches back less than a window."""


@dataclass(frozen=True, slots=True)
class Trade:
    """One attributed decision: when, in seconds since 1970 UTC, and its profit or loss in account currency."""

    at: float
    pnl: float


@dataclass(slots=True)
class History:
    """What one agent decided.

    Args:
        trades: its attributed decisions, oldest first.
        latest_at: the time of its newest decision, attributed or not; None if no decision has a readable time.
        total: how many decisions the file holds of it, attributed or not.
        problem: why its figures cannot be trusted; empty if they can.
    """

    trades: list[Trade] = field(default_factory=list)
    latest_at: float | None = None
    total: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """The whole file: histories by agent, sorted by name, what is odd, and when it was last added to.

    Args:
        agents: by name.
        updated_at: the file's ``last_update``, else its newest decision; seconds since 1970 UTC; None if unknown.
        oldest_at: its oldest decision; None if there is none.
        warnings: one sentence each.
    """

    agents: Mapping[str, History]
    updated_at: float | None
    oldest_at: float | None
    warnings: tuple[str, ...]


def record_of(document: Mapping[str, Any], now: float) -> Record | str:
    """Return the decisions in the document, or why there are none to be had, one clause.

    An entry of a known agent that cannot be understood makes that agent's figures untrustworthy and nobody else's.

    Args:
        document: of the file.
        now: seconds since 1970 UTC.
    """
    entries = document.get("decisions")
    if not isinstance(entries, list):
        return "has no list of decisions"
    agents: dict[str, History] = {}
    times: list[float] = []
    nameless = future = 0
    for entry in entries:
        name = entry.get("agent") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name or not name.isprintable():
            nameless += 1
            continue
        history = agents.setdefault(name, History())
        at = instant(entry.get("timestamp"))
        if at is not None and at > now + FUTURE_TOLERANCE_SECONDS:
            future += 1
            history.total += 1
            continue
        if at is not None:
            times.append(at)
        _add(history, entry, at)
    for history in agents.values():
        history.trades.sort(key=lambda trade: trade.at)
    return Record(
        agents=dict(sorted(agents.items())),
        updated_at=_updated_at(document, times, now),
        oldest_at=min(times, default=None),
        warnings=tuple(_oddities(len(entries), nameless, future)),
    )


def instant(stamp: object) -> float | None:
    """Return an ISO 8601 time (without a zone: UTC) in seconds since 1970 UTC; None if it is none."""
    if not isinstance(stamp, str):
        return None
    try:
        moment = datetime.fromisoformat(stamp)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def number(value: object) -> float | None:
    """Return a JSON number that is finite; None for all else, true and false included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _add(history: History, entry: Mapping[str, Any], at: float | None) -> None:
    history.total += 1
    if at is None:
        history.problem = f"a decision's timestamp is {_shown(entry.get('timestamp'))}, not a time"
        return
    history.latest_at = at if history.latest_at is None else max(at, history.latest_at)
    attributed, pnl = entry.get("pnl_attributed"), entry.get("pnl")
    if not attributed:
        return
    profit = number(pnl)
    if attributed is not True or profit is None or abs(profit) > MOST_PNL:
        history.problem = f"an attributed decision's pnl is {_shown(pnl)}, no amount"
        return
    history.trades.append(Trade(at, profit))


def _updated_at(document: Mapping[str, Any], times: Sequence[float], now: float) -> float | None:
    said = instant(document.get("last_update"))
    if said is not None and said <= now + FUTURE_TOLERANCE_SECONDS:
        return said
    return max(times, default=None)


def _oddities(entries: int, nameless: int, future: int) -> list[str]:
    said = []
    if nameless:
        said.append(f"{nameless} of {entries} decisions name no agent and are left out")
    if future:
        said.append(f"{future} of {entries} decisions are dated in the future and are left out")
    if entries >= KEPT_DECISIONS:
        said.append(
            f"the file holds {entries} decisions, which is all that is kept: windows may reach beyond its oldest"
        )
    return said


def _shown(value: object) -> str:
    return ascii(value)[:40]
