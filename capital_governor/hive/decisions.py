"""The decisions of ``performance_attribution.json`` by agent, with what is wrong with each. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final

from capital_governor.contracts.instants import Instant, read_instant
from capital_governor.hive.day_sums import DaySums, Trade
from capital_governor.hive.state_files import PERFORMANCE

FUTURE_TOLERANCE_SECONDS: Final = 60.0
"""Clocks of two machines differ by up to this; a decision further ahead is dated in the future."""
MOST_PNL: Final = 1e12
"""A larger amount is an error. The limit also keeps every sum finite."""
SAME_SECONDS: Final = 60.0
"""The times of one decision in two records of it differ by up to this."""
NOBODY: Final[Mapping[str, float]] = MappingProxyType({})
KEPT_DECISIONS: Final = 1_000
"""NeoLight's file keeps this many, so a busy fleet's file covers less than 30 days."""


@dataclass(frozen=True, slots=True)
class AgentDecision:
    """One decision of a named agent.

    Args:
        agent: its name.
        key: the same in each version of the file, also after a profit or loss was attributed; equal decisions share it.
            Of a reported decision the key of its id; empty without one.
        at: its time, in seconds since 1970 UTC; None: not readable.
        pnl: its profit or loss in account currency; None: not attributed yet, or not readable.
        problem: why it cannot be read; empty if it can.
    """

    agent: str
    key: str
    at: float | None
    pnl: float | None
    problem: str = ""


@dataclass(slots=True)
class History:
    """The decisions of one agent.

    Args:
        trades: its attributed decisions that are known one by one, oldest first.
        latest_at: the time of its newest decision, attributed or not; None if no decision has a readable time.
        total: number of known decisions, attributed or not.
        waiting: number of decisions in the file that are not attributed yet.
        lost: number of decisions that left the file before they were attributed.
        problem: why its figures cannot be trusted; empty if they can.
        days: sums of its older decisions, by UTC day, as days since 1970.
        first_at: the time of its first attributed decision ever; None: that of its first trade.
    """

    trades: list[Trade] = field(default_factory=list)
    latest_at: float | None = None
    total: int = 0
    waiting: int = 0
    lost: int = 0
    problem: str = ""
    days: Mapping[int, DaySums] = field(default_factory=dict)
    first_at: float | None = None

    def joined(self, reported: History) -> History:
        """Return this history and, from its first decision on, the one that the agent has reported itself."""
        firsts = [each.first_at for each in (self, reported) if each.first_at is not None]
        days = dict(self.days)
        for day, sums in reported.days.items():
            days[day] = days[day].followed_by(sums) if day in days else sums
        latest = [each.latest_at for each in (self, reported) if each.latest_at is not None]
        return History(
            trades=sorted([*self.trades, *reported.trades], key=lambda trade: trade.at),
            latest_at=max(latest, default=None),
            total=self.total + reported.total,
            waiting=self.waiting,
            lost=self.lost,
            problem=self.problem or reported.problem,
            days=days,
            first_at=min(firsts, default=None),
        )

    def saw(self, at: float) -> None:
        """Take a decision's time into account."""
        self.latest_at = at if self.latest_at is None else max(at, self.latest_at)


@dataclass(frozen=True, slots=True)
class DecisionFile:
    """The content of the file.

    Args:
        entries: every decision of a named agent, in the order of the file, also those dated in the future.
        agents: histories by agent, sorted by name, without decisions dated in the future.
        updated_at: the file's ``last_update``, else the time of its newest decision, in seconds since 1970 UTC; the
            earlier possible one if it has no zone; None if unknown.
        oldest_at: the time of its oldest decision; None if there is none.
        warnings: one sentence each.
    """

    entries: Sequence[AgentDecision]
    agents: Mapping[str, History]
    updated_at: float | None
    oldest_at: float | None
    warnings: tuple[str, ...]


NO_FILE: Final = DecisionFile(entries=(), agents=MappingProxyType({}), updated_at=None, oldest_at=None, warnings=())


def record_of(
    document: Mapping[str, Any], now: float, reported_from: Mapping[str, float] = NOBODY
) -> DecisionFile | str:
    """Return the decisions in the document, or why it has none, in one clause.

    An unreadable entry makes only its own agent's figures untrustworthy.

    Args:
        document: of the file.
        now: seconds since 1970 UTC.
        reported_from: by agent that reports its decisions itself, the time of the first one. From a minute before
            on its decisions in this file do not count, since they are the same ones.
    """
    listed = document.get("decisions")
    if not isinstance(listed, list):
        return "has no list of decisions"
    entries: list[AgentDecision] = []
    agents: dict[str, History] = {}
    times: list[Instant] = []
    future = 0
    for decision in listed:
        name = decision.get("agent") if isinstance(decision, dict) else None
        if not isinstance(name, str) or not name or not name.isprintable():
            continue
        at = read_instant(decision.get("timestamp"))
        named = ascii((name, *(decision.get(part) for part in ("timestamp", "decision", "reasoning"))))
        entry = entry_of(name, decision, at, digest(named), attributed=decision.get("pnl_attributed"))
        entries.append(entry)
        if is_reported(entry, reported_from):
            continue
        history = agents.setdefault(name, History())
        history.total += 1
        if at is not None and is_future(at.utc, now):
            future += 1
            continue
        if at is not None:
            times.append(at)
        _add(history, entry)
    for history in agents.values():
        history.trades.sort(key=lambda trade: trade.at)
    updated_at, of_update = _updated_at(document, times, now)
    naive = sum(at.naive for at in times)
    return DecisionFile(
        entries=entries,
        agents=dict(sorted(agents.items())),
        updated_at=updated_at,
        oldest_at=min((at.utc for at in times), default=None),
        warnings=(*_oddities(len(listed), len(listed) - len(entries), future, naive), *of_update),
    )


def is_future(at: float, now: float) -> bool:
    """Whether a time is further ahead than the clocks of two machines may differ."""
    return at > now + FUTURE_TOLERANCE_SECONDS


def digest(text: str) -> str:
    """Return a short key for a text; those of two texts differ."""
    return blake2b(text.encode(), digest_size=9).hexdigest()


def number(value: object) -> float | None:
    """Return a finite JSON number; None for anything else, true and false included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def is_reported(entry: AgentDecision, reported_from: Mapping[str, float]) -> bool:
    """Whether the agent reports its decisions of this time itself; see ``record_of``."""
    first = reported_from.get(entry.agent)
    return first is not None and entry.at is not None and entry.at >= first - SAME_SECONDS


def entry_of(
    name: str, decision: Mapping[str, Any], at: Instant | None, key: str, *, attributed: object
) -> AgentDecision:
    """Return a decision of an agent; its ``pnl`` counts only if ``attributed`` is true."""
    stamp, pnl = decision.get("timestamp"), decision.get("pnl")
    if at is None:
        return AgentDecision(name, key, None, None, f"a decision's timestamp is {_shown(stamp)}, not a time")
    profit = number(pnl)
    if attributed and (attributed is not True or profit is None or abs(profit) > MOST_PNL):
        return AgentDecision(name, key, at.utc, None, f"an attributed decision's pnl is {_shown(pnl)}, no amount")
    return AgentDecision(name, key, at.utc, profit if attributed else None)


def _add(history: History, entry: AgentDecision) -> None:
    history.problem = entry.problem or history.problem
    if entry.at is not None:
        history.saw(entry.at)
        if entry.pnl is not None:
            history.trades.append(Trade(entry.at, entry.pnl))
        elif not entry.problem:
            history.waiting += 1


def _updated_at(
    document: Mapping[str, Any], times: Sequence[Instant], now: float
) -> tuple[float | None, tuple[str, ...]]:
    said = read_instant(document.get("last_update"))
    if said is None or is_future(said.earliest, now):
        # Without a zone the earlier possible time counts, so that a dead recorder is found.
        return max((at.earliest for at in times), default=None), ()
    naive = f"{PERFORMANCE}: last_update has no time zone: the older of UTC and local time counts"
    return said.earliest, (naive,) if said.naive else ()


def _oddities(entries: int, nameless: int, future: int, naive: int) -> list[str]:
    said = []
    if nameless:
        said.append(f"{nameless} of {entries} decisions name no agent and are left out")
    if future:
        said.append(f"{future} of {entries} decisions are dated in the future and are left out")
    if naive:
        said.append(f"{naive} of {entries} decisions have a timestamp without a time zone, which is taken as UTC")
    return said


def _shown(value: object) -> str:
    return ascii(value)[:40]
