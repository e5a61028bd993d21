"""History of the decisions that are no longer in the file, which has the last 1,000. Limited in size. Pure.

Each look compares the file with its content at the look before. Decisions missing at the old end of the file have left
it. They are first kept one by one, so that they are recognised if a writer puts them back, and later as sums of their
UTC day. Decisions in the file are never summed up, so a late profit or loss, or a correction, counts once and on its
own day.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from capital_governor.hive.day_sums import DAY_SECONDS, DaySums, Trade, day_of
from capital_governor.hive.decisions import (
    KEPT_DECISIONS,
    NOBODY,
    AgentDecision,
    DecisionFile,
    History,
    is_future,
    is_reported,
)
from capital_governor.hive.trade_statistics import WINDOW_DAYS, Gap

MOST_AGENTS: Final = 10_000
"""The governor refuses a payload with more agents."""
LONGEST_NAME: Final = 64
"""The governor accepts no longer name of an agent."""
MOST_GAPS: Final = 100


@dataclass(slots=True)
class AgentPast:
    """Sums of one agent.

    Args:
        first_at: the time of its first attributed decision, which may be older than all days; None without one.
        latest_at: the time of its newest decision.
        days: sums by UTC day, a number of days since 1970.
    """

    first_at: float | None = None
    latest_at: float = 0.0
    days: dict[int, DaySums] = field(default_factory=dict)


@dataclass(slots=True)
class Past:
    """The history.

    Args:
        since: the time of the oldest decision in the file when the history began; None: it has not begun.
        left: decisions that have left the file and are not summed up yet, in the order in which they left.
        held: what was in the file at the last look, in its order.
        agents: sums by agent.
        fleet: sums of all agents together, by UTC day.
        gaps: times of which decisions were missed, oldest first.
        unread: unreadable decisions that left the file, by UTC day of the look.
        forgotten: number of agents left out, since there were too many.
        kept: how many decisions in ``left`` are kept one by one.
    """

    since: float | None = None
    left: list[AgentDecision] = field(default_factory=list)
    held: list[AgentDecision] = field(default_factory=list)
    agents: dict[str, AgentPast] = field(default_factory=dict)
    fleet: dict[int, DaySums] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    unread: dict[int, int] = field(default_factory=dict)
    forgotten: int = 0
    kept: int = KEPT_DECISIONS

    def look(
        self, entries: Sequence[AgentDecision], now: float, reported_from: Mapping[str, float] = NOBODY
    ) -> list[str]:
        """Add the current content of the file; return warnings about the change, one sentence each.

        Args:
            entries: the content of the file, in its order. If no entry has a time up to ``now``, nothing is done: the
                file has no history, or the clock is far behind.
            now: seconds since 1970 UTC.
            reported_from: see ``record_of``; what agents have reported themselves is not summed up.
        """
        times = _times(entries, now)
        if not times:
            return []
        said: list[str] = []
        if self.since is None:
            self.since = min(times)
        elif self.held:
            said = self._compare(entries, times, max(_times(self.held, now), default=max(times)))
        self.held = list(entries)
        # Ages are counted from the newest decision, so that a wrong clock does not delete the history.
        present = max(0.0, min(now, max(times)))
        self._sum_up(present, reported_from)
        self._forget(present)
        return said

    def add(self, entries: Sequence[AgentDecision], now: float) -> None:
        """Add decisions that are in no file that keeps the last ones only; none may be dated in the future."""
        self.left = sorted([*self.left, *entries], key=lambda entry: entry.at or 0.0)
        if self.left:
            present = max(0.0, min(now, self.left[-1].at or 0.0))
            self._sum_up(present, NOBODY)
            self._forget(present)

    def summed_until(self) -> dict[str, float]:
        """Return by agent the time of its last trade that is known by a sum only."""
        found = {
            name: max((sums.last_at for sums in past.days.values() if sums.trades), default=None)
            for name, past in self.agents.items()
        }
        return {name: at for name, at in found.items() if at is not None}

    def histories(
        self, record: DecisionFile, now: float, reported_from: Mapping[str, float] = NOBODY
    ) -> dict[str, History]:
        """Return all decisions of each agent, in the file and before, sorted by name.

        Args:
            record: what is in the file; its histories are changed.
            now: seconds since 1970 UTC.
            reported_from: see ``record_of``.
        """
        found = dict(record.agents)
        for entry in self.left:
            if is_reported(entry, reported_from):
                continue
            history = found.setdefault(entry.agent, History())
            history.total += 1
            if entry.at is None or is_future(entry.at, now):
                continue
            history.saw(entry.at)
            if entry.pnl is not None:
                history.trades.append(Trade(entry.at, entry.pnl))
            else:
                history.lost += not entry.problem
        for name, past in self.agents.items():
            history = found.setdefault(name, History())
            history.saw(past.latest_at)
            history.days, history.first_at = past.days, past.first_at
            history.total += sum(sums.decisions for sums in past.days.values())
            history.lost += sum(sums.decisions - sums.trades for sums in past.days.values())
        for history in found.values():
            history.trades.sort(key=lambda trade: trade.at)
        return dict(sorted(found.items()))

    def warnings(self) -> list[str]:
        """Return warnings about figures of the last 30 days, one sentence each."""
        said = []
        if self.gaps:
            count, (start, end) = len(self.gaps), self.gaps[-1]
            said.append(
                f"the history of decisions has {count} gap{'s' * (count > 1)}, the last from {iso(start)} to"
                f" {iso(end)}: more was decided than the file holds, or the file was begun anew. Sums lack what was"
                " decided then, and no Sharpe ratio counts these days"
            )
        if unread := sum(self.unread.values()) + sum(bool(entry.problem) for entry in self.left):
            said.append(f"{unread} decisions that could not be understood have left the file: no figure has them")
        if self.forgotten:
            said.append(
                f"the history holds {MOST_AGENTS} agents: {self.forgotten} that decided longest ago are left out"
            )
        return said

    def _compare(self, entries: Sequence[AgentDecision], times: Sequence[float], before: float) -> list[str]:
        """Find the decisions that have left the file since the last look, and those that were taken out of it.

        Args:
            entries: the content of the file now.
            times: their times.
            before: the time of the newest decision at the last look.
        """
        known, begin = [*self.left, *self.held], len(self.left)
        unseen = Counter(entry.key for entry in entries)
        kept = [False] * len(known)
        for index in reversed(range(len(known))):  # of equal decisions the oldest leave first
            key = known[index].key
            if unseen[key] > 0:
                unseen[key] -= 1
                kept[index] = True
        first_kept = next((index for index in range(begin, len(known)) if kept[index]), begin)
        missing = [(index, known[index]) for index in range(begin, len(known)) if not kept[index]]
        later = [at for at in times if at > before]
        replaced = not any(kept) and 2 * len(later) >= len(times)
        gone = [
            each
            for index, each in missing
            if replaced or (any(kept) and (index < first_kept or (each.at or 0.0) <= min(times)))
        ]
        self.left = [known[index] for index in range(begin) if not kept[index]] + gone
        if replaced:
            self.gaps.append((before, min(later)))
            return [f"the history has a gap from {iso(before)} to {iso(min(later))}: no decision before it is left"]
        summed_to = max((sums.last_at for sums in self.fleet.values()), default=-math.inf)
        # An older version of the file begins with decisions that are summed up already, even if new ones were added.
        head = entries[0]
        if unseen[head.key] > 0 and head.at is not None and head.at <= summed_to:
            self._put_back(min(times), max((at for at in times if at <= before), default=before), before)
            return ["the file was put back to an earlier state: the history after its oldest decision is begun anew"]
        if taken := len(missing) - len(gone):
            return [f"{taken} decisions were changed in the file or taken out of it: they do not count any more"]
        return []

    def _put_back(self, oldest: float, newest: float, before: float) -> None:
        """Drop from the history what is in the file again, so that nothing counts twice.

        Args:
            oldest: the time of the oldest decision in the file.
            newest: the time of the newest decision in it that was known.
            before: the time of the newest known decision.
        """
        day = day_of(oldest)
        if any(each >= day for each in self.fleet):
            self.gaps.append((day * DAY_SECONDS, oldest))
        if newest < before:
            self.gaps.append((newest, before))
        for past in self.agents.values():
            past.days = {each: sums for each, sums in past.days.items() if each < day}
        self.fleet = {each: sums for each, sums in self.fleet.items() if each < day}
        self.left = [entry for entry in self.left if entry.at is not None and entry.at < oldest]

    def _sum_up(self, now: float, reported_from: Mapping[str, float]) -> None:
        """Sum up decisions that have left the file and are too many or too old to be kept one by one."""
        count = max(0, len(self.left) - self.kept)
        begin = (day_of(now) - WINDOW_DAYS) * DAY_SECONDS
        while count < len(self.left) and (self.left[count].at or 0.0) < begin:
            count += 1
        for entry in self.left[:count]:
            if not is_reported(entry, reported_from):
                self._add(entry, now)
        del self.left[:count]

    def _add(self, entry: AgentDecision, now: float) -> None:
        if entry.problem:
            self.unread[day_of(now)] = self.unread.get(day_of(now), 0) + 1
        if entry.at is None or is_future(entry.at, now) or len(entry.agent) > LONGEST_NAME:
            return
        past = self.agents.setdefault(entry.agent, AgentPast())
        past.latest_at = max(past.latest_at, entry.at)
        if entry.problem:
            return
        if entry.pnl is not None:
            past.first_at = entry.at if past.first_at is None else min(entry.at, past.first_at)
        for days in (past.days, self.fleet):
            days.setdefault(day_of(entry.at), DaySums()).add(entry.at, entry.pnl)

    def _forget(self, now: float) -> None:
        """Drop what is older than any window, and what exceeds the limits."""
        oldest = day_of(now) - WINDOW_DAYS
        for past in self.agents.values():
            past.days = {day: sums for day, sums in past.days.items() if day >= oldest}
        self.fleet = {day: sums for day, sums in self.fleet.items() if day >= oldest}
        self.unread = {day: count for day, count in self.unread.items() if day >= oldest}
        begin = oldest * DAY_SECONDS
        self.agents = {name: past for name, past in self.agents.items() if past.latest_at >= begin}
        self.gaps = [(start, end) for start, end in self.gaps if end >= begin]
        while len(self.gaps) > MOST_GAPS:
            self.gaps[:2] = [(self.gaps[0][0], self.gaps[1][1])]
        if len(self.agents) > MOST_AGENTS:
            self.forgotten = len(self.agents) - MOST_AGENTS
            newest = sorted(self.agents, key=lambda name: self.agents[name].latest_at)[-MOST_AGENTS:]
            self.agents = {name: self.agents[name] for name in newest}
        elif len(self.agents) < MOST_AGENTS:  # the agents left out were older than those just dropped
            self.forgotten = 0


def _times(entries: Sequence[AgentDecision], now: float) -> list[float]:
    return [entry.at for entry in entries if entry.at is not None and not is_future(entry.at, now)]


def iso(at: float) -> str:
    """Return a time as ISO 8601 in UTC, to the second."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):  # a decision may be dated before the year 1
        return f"{at:.0f} s since 1970"
