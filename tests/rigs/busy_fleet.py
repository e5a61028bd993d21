"""A fleet that decides so often that its file of the last 1,000 decisions reaches back less than a day."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from capital_governor.hive.state_files import PERFORMANCE, StateFile
from tests.rigs.fleet_files import DAY, HOUR, NOW, Document, decision

AGENTS: Final = ("Agent0", "Agent1", "Agent2")
MIDNIGHT: Final = NOW - 22 * HOUR


@dataclass(slots=True)
class BusyFleet:
    """Decides at a steady pace, one agent after the other, and keeps the last 1,000 decisions as NeoLight does.

    Each decision is attributed when ``late`` more have been made. Amounts are whole, so that sums of them are exact.

    Args:
        at: when it last decided, in seconds since 1970 UTC.
        a_day: how many decisions it makes a day.
        late: after how many more decisions one is attributed.
        every: all that it ever decided, in order.
    """

    at: float
    a_day: int = 3_000
    late: int = 50
    every: list[Document] = field(default_factory=list)
    dice: Random = field(default_factory=lambda: Random(1))  # noqa: S311 - to be repeated, not secret

    def run(self, days: float) -> None:
        """Go on for so many days."""
        end = self.at + days * DAY
        while self.at + DAY / self.a_day <= end:
            self.at += DAY / self.a_day
            agent = AGENTS[len(self.every) % len(AGENTS)]
            self.every.append(decision(agent, 0, None, self.at, worth=float(self.dice.randint(-90, 110))))
            for open_one in self.every[-self.late - 1 : -self.late]:
                open_one |= {"pnl": open_one["worth"], "pnl_attributed": True}

    def document(self) -> Document:
        """The file as it stands."""
        last = json.loads(json.dumps(self.every[-1_000:]))
        return {"decisions": last, "last_update": last[-1]["timestamp"]}

    def file(self) -> StateFile:
        """The file as the hive finds it."""
        return StateFile(self.document())

    def write(self, root: Path) -> None:
        """Write the file."""
        (root / PERFORMANCE).parent.mkdir(exist_ok=True)
        (root / PERFORMANCE).write_text(json.dumps(self.document()))

    def attributed(self, agent: str) -> list[Any]:
        """All amounts of an agent."""
        return [each["pnl"] for each in self.every if each["agent"] == agent and each["pnl_attributed"]]
