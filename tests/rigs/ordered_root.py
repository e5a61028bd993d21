"""A root with a dashboard, on which an operator gives orders."""

from __future__ import annotations

import json
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.rigs.commands import CommandResult, call
from tests.rigs.cycle_rig import footprint
from tests.rigs.dashboard import Dashboard
from tests.rigs.patience import wait_until

ME: Final = pwd.getpwuid(os.getuid()).pw_name
SLOW: Final = 30.0
"""Seconds for what takes an interval of half a second where nothing else runs."""


@dataclass(frozen=True, slots=True)
class Place:
    """A root and its dashboard."""

    root: Path
    dashboard: Dashboard

    def call(self, *words: str, **own: str) -> CommandResult:
        return call(self.root, *words, url=self.dashboard.url, env=own)

    def begin(self) -> None:
        """Make the root one where a governor has run, and has published nothing."""
        (self.root / "runtime").mkdir(exist_ok=True)
        (self.root / "runtime" / "capital_governor_status.json").write_text("{}")

    def typed(self, words: str) -> str:
        """A command as a hint has it."""
        return f"`capital-governor {words} --root {self.root}`"

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "runtime" / "capital_governor_status.json").read_bytes())
        return found

    def shares(self) -> dict[str, float]:
        content = (self.root / "runtime" / "capital_governor_allocations.json").read_bytes()
        found: dict[str, float] = json.loads(content)["allocations"]
        return found

    @property
    def journal(self) -> Path:
        return self.root / "state" / "capital_governor.sqlite3"

    def files(self) -> list[Any]:
        runtime = self.root / "runtime"
        return footprint(runtime / "capital_governor_allocations.json", runtime / "allocations_override.json")

    def wait_for(self, reason: str) -> None:
        wait_until(lambda: self.status()["reason"] == reason, SLOW)

    def cycles(self, more: int) -> None:
        """Wait until the governor has begun so many cycles more."""
        self.dashboard.wait_for(len(self.dashboard.asked) + more, SLOW)
