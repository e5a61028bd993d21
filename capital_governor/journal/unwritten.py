"""The cycles that are in memory only during an episode, and their limits."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from capital_governor.journal.protocol import Record

BATCH: Final = 100
"""Cycles written back in one transaction, so in one cycle after an outage."""
BATCH_AGENTS: Final = 2_000
CAPACITY: Final = 1_000
"""Cycles kept in memory during an episode."""
AGENT_CAPACITY: Final = 32_000
"""Cycles times agents kept in memory. One agent of one cycle takes less than 1 KB, so at most about 30 MB."""


@dataclass(frozen=True, slots=True)
class UnwrittenCycle:
    """A cycle that is in memory only: its key, its book, and its number of agents as a measure of its size."""

    key: str
    book: str
    agents: int


@dataclass(slots=True)
class UnwrittenCycles:
    """The cycles that are in memory only, oldest first."""

    cycles: deque[UnwrittenCycle] = field(default_factory=deque)
    agents: int = 0

    def add(self, cycle: Record) -> None:
        """Add a cycle at the end."""
        self.cycles.append(UnwrittenCycle(cycle.key, cycle.book, len(cycle.after.agents) + 1))
        self.agents += self.cycles[-1].agents

    def drop(self) -> UnwrittenCycle:
        """Remove and return the oldest."""
        gone = self.cycles.popleft()
        self.agents -= gone.agents
        return gone

    def batch(self) -> int:
        """Return how many of the oldest to write back at once: at least 2, so that a backlog shrinks."""
        total = 0
        for number, cycle in enumerate(islice(self.cycles, BATCH)):
            total += cycle.agents
            if total > BATCH_AGENTS and number >= 2:  # noqa: PLR2004 - the least number above
                return number
        return min(BATCH, len(self.cycles))
