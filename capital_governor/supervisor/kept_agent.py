"""An agent that the supervisor keeps, and its state."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass

from capital_governor.supervisor.agents import SupervisedAgent
from capital_governor.supervisor.root import AgentStanding


@dataclass(slots=True)
class KeptAgent:
    """An agent and its state; ``due`` and ``started`` are by the monotonic clock.

    Args:
        agent: the agent.
        wait_seconds: the wait before its next restart.
        since: when it entered its state, in seconds since 1970.
        state: as in the state file.
        due: when a waiting agent is started.
        due_date: the same, in seconds since 1970; None before its first end.
        started: when it was last started.
        keeper: its keeper's process, while it runs.
        pid: the agent's pid, once the keeper has reported it.
        exit_code: its last exit code.
    """

    agent: SupervisedAgent
    wait_seconds: float
    since: int
    state: str = "waiting"
    due: float = 0.0
    due_date: int | None = None
    started: float = 0.0
    keeper: subprocess.Popen[bytes] | None = None
    pid: int | None = None
    exit_code: int | None = None

    def enter(self, state: str) -> None:
        """Enter another state now."""
        self.state, self.since = state, int(time.time())

    def lives(self) -> bool:
        """Whether its keeper runs."""
        return self.keeper is not None and self.keeper.poll() is None

    def standing(self) -> AgentStanding:
        """Return its line of the state file."""
        numbers = ("-" if number is None else str(number) for number in (self.pid, self.due_date, self.exit_code))
        pid, due, exit_code = numbers
        return AgentStanding(self.agent.name, self.state, pid, str(self.since), due, exit_code)
