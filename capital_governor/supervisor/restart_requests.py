"""Asks a running supervisor to restart one agent: a file for each agent in runtime/, and a signal.

The file has the agent as ``.agents.sh`` describes it now, so the supervisor runs neither the file nor newer code. Only
its own user and root may ask, since a request is a command to be run.
"""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path
from typing import Final

from capital_governor.supervisor.agents import SupervisedAgent
from capital_governor.supervisor.messages import PERMANENT, SupervisionError
from capital_governor.supervisor.root import SCRIPT, Root

ASK: Final = signal.SIGCONT
"""Does nothing to a supervisor of an older version, which would take no request."""

_PREFIX: Final = f"{SCRIPT}.restart."
_ROOT_USER: Final = 0


def request_path(root: Root, name: str) -> Path:
    """Return the file of the request to restart an agent; the supervisor deletes it when it has obeyed."""
    return root.state_file.with_name(f"{_PREFIX}{name}")


def ask(root: Root, supervisor_pid: int, agent: SupervisedAgent) -> None:
    """Ask a running supervisor to restart ``agent``, as it is described here. Raises SupervisionError."""
    path = request_path(root, agent.name)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    document = {"name": agent.name, "command": agent.command, "log": str(agent.log)}
    try:
        new.write_text(json.dumps(document))
        new.replace(path)
        os.kill(supervisor_pid, ASK)
    except OSError as error:
        new.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise SupervisionError(
            PERMANENT, f"the supervisor on {root.path} (pid {supervisor_pid}) cannot be asked: {error.strerror}"
        ) from None


def requested(root: Root) -> tuple[list[SupervisedAgent], list[str]]:
    """Return the agents to restart, and a sentence about each request that is not obeyed, whose file is deleted."""
    agents, refused = list[SupervisedAgent](), list[str]()
    for path in sorted(root.state_file.parent.glob(f"{_PREFIX}*")):
        try:
            agents.append(_read(path))
        except (OSError, ValueError, KeyError, TypeError) as error:
            refused.append(f"the request {path} is not obeyed: {error}")
            forget(path)
    return agents, refused


def forget(path: Path) -> None:
    """Delete a request, if it is there; a failure does no harm beyond one more restart."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def _read(path: Path) -> SupervisedAgent:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in {os.geteuid(), _ROOT_USER}:
            raise ValueError("it is not of this user")
        document = json.load(file)
    return SupervisedAgent(document["name"], tuple(document["command"]), Path(document["log"]))
