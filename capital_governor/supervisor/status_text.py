"""Texts of ``neo_light_fix.sh status``: how an agent is, and why no supervisor runs."""

from __future__ import annotations

import time
from typing import Final

from capital_governor.supervisor.endings import cause_of
from capital_governor.supervisor.root import SCRIPT, AgentStanding, Root

_NO_CRASH: Final = {"0", "75", "143"}


def agent_standing_text(standing: AgentStanding, script: str = f"{SCRIPT}.sh") -> str:  # noqa: PLR0911 - a text for each
    """Return how an agent is; ``script`` is the start of a command line, as it is typed."""
    cause = cause_of(int(standing.exit_code)) if standing.exit_code.isdigit() else ""
    match standing.state:
        case "running":
            pid = "not known yet" if standing.pid == "-" else standing.pid
            return f"running, pid {pid}, since {date_text(standing.since)}"
        case "waiting" if cause and standing.due != "-":
            seconds = max(0, int(standing.due) - int(time.time()))
            ended = "ENDED" if standing.exit_code in _NO_CRASH else "CRASHED"
            return f"{ended} ({cause}); restarting in {seconds} s"
        case "gave-up":
            return f"GAVE UP ({cause}) at {date_text(standing.since)}: see `{script} logs {standing.name}`"
        case "stopped" if standing.since != "0":
            return f"stopped at {date_text(standing.since)}"
        case "waiting":
            return "starting"
        case "stopping":
            return "being restarted"
        case _:
            return "stopped"


def ended_text(root: Root) -> str:
    """Return why no supervisor runs."""
    last = root.last_supervisor()
    if last is None:
        return "not running"
    if all(standing.state == "stopped" for standing in last.agents):
        return f"stopped normally at {date_text(max(standing.since for standing in last.agents))}"
    start = root.typed("start")
    return f"CRASHED (killed, often out of memory, or the machine went down): {start} starts all again"


def date_text(seconds: str) -> str:
    """Return a time in UTC from its seconds since 1970."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(int(seconds)))
