"""What ``doctor`` finds about the running governor and its supervisor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from capital_governor import __version__
from capital_governor.cli.doctor.finding import Finding, parted, warned, well, wrong, wrong_now
from capital_governor.cli.status_command import StatusUnknownError, whole_status
from capital_governor.cli.supervised import supervision_of
from capital_governor.cli.typed import typed
from capital_governor.settings.sources import Place
from capital_governor.supervisor.status_text import agent_standing_text, ended_text


def governor(where: Place, option: Path | None) -> Iterator[Finding]:
    """Yield whether a governor runs, of this version and with the settings of ``.env``; ``option`` is ``--root``."""
    try:
        document = whole_status(where, option, time.time(), dry_run=False)
    except StatusUnknownError as error:
        yield warned("governor", str(error), error.remedy)
        return
    except OSError:  # the status file has a finding of its own
        return
    text, standing = document["headline"], document["standing"]
    how = next(iter(document["act"]), "none if it comes back")
    if standing == "ended":
        yield warned("governor", text, how)
    elif standing in {"dead", "late"}:
        yield wrong_now("governor", text, how)
    else:
        yield well("governor", text)
    if standing in {"running", "late"} and document["version"] != __version__:
        told = f"the running governor is version {document['version']}, and this is {__version__}"
        yield warned("governor", told, "restart it")
    if standing == "running" and document["journal_problem"]:
        told = f"the running governor cannot write its journal: {document['journal_problem']}"
        yield wrong_now("journal", *parted(told, "see what is wrong with its disk"))
    for line in document["settings_not_in_force"]:
        yield warned("settings", line, typed("reload", option))


def supervisor(root: Path, *, governed: bool) -> Iterator[Finding]:
    """Yield whether the supervisor runs, if this root has or had one, and whether it gave up an agent.

    Args:
        root: absolute.
        governed: whether a governor runs, with or without a supervisor.
    """
    found = supervision_of(root)
    if (last := found.last_supervisor()) is None:
        return
    start = found.typed("start")
    if (running := found.running_supervisor()) is not None:
        yield well("supervisor", f"running, pid {running.pid}")
        for agent in running.agents:
            if agent.state == "gave-up":
                text, _, logs = agent_standing_text(agent, found.script).rpartition(": ")
                yield wrong(
                    "supervisor", f"{agent.name} {text}", f"{logs}; then {found.typed(f'restart {agent.name}')}"
                )
        return
    crashed = any(agent.state != "stopped" for agent in last.agents)
    text = f"not running: {ended_text(found).partition(': ')[0] if crashed else ended_text(found)}"
    if governed:
        yield warned("supervisor", f"{text}; a governor runs without it", f"{start}, if it is to keep that governor")
    elif crashed:
        yield wrong_now("supervisor", text, start)
    else:
        yield warned("supervisor", text, start)
