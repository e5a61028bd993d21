"""What a supervisor knows of the governor that it keeps, for ``status``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from capital_governor.cli.typed import SCRIPT
from capital_governor.supervisor.root import GOVERNOR, Root, typed_script
from capital_governor.supervisor.status_text import agent_standing_text


def supervision_of(root: Path) -> Root:
    """Return the supervisor's view of a root, which names commands as they are typed in the current folder."""
    here: Path | None = None
    with suppress(OSError):  # it is gone
        here = Path.cwd()
    return Root(root, typed_script(SCRIPT, root, here))


def supervised(root: Path) -> dict[str, Any] | None:
    """Return how the supervisor that runs on a root says its governor is, as plain data; None if none runs.

    ``state`` and ``exit_code`` are those of ``AgentStanding``, ``text`` is the state in words.
    """
    supervision = supervision_of(root)
    supervisor = supervision.running_supervisor()
    found = () if supervisor is None else supervisor.agents
    governor = next((agent for agent in found if agent.name == GOVERNOR), None)
    if governor is None:
        return None
    code = int(governor.exit_code) if governor.exit_code.isdigit() else None
    return {"state": governor.state, "exit_code": code, "text": agent_standing_text(governor, supervision.script)}
