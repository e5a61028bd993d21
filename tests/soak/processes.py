"""Faults of processes: killed and frozen. See ``faults.FAULTS``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.soak.plant import GOVERNOR, HIVE, is_stopped
from tests.soak.stage import Stage, Window


def kill_governor(stage: Stage, window: Window, _: float) -> None:
    """``kill -9`` of the governor: another one, with another pid, takes its place."""
    pid = _pid(stage, GOVERNOR)
    os.kill(pid, signal.SIGKILL)
    stage.crashes += 1
    window.fired = stage.until(lambda: stage.plant.pid(GOVERNOR) not in (None, pid))
    stage.restarts += 1


def kill_hive(stage: Stage, window: Window, _: float) -> None:
    """``kill -9`` of the hive: another one takes its place, and its answers are decided upon again."""
    pid = _pid(stage, HIVE)
    os.kill(pid, signal.SIGKILL)
    window.fired = stage.until(lambda: stage.plant.pid(HIVE) not in (None, pid))
    relayed = stage.fleet.order("counts")["relayed"]
    window.fired &= stage.until(lambda: stage.fleet.order("counts")["relayed"] > relayed)


def kill_supervisor(stage: Stage, window: Window, _: float) -> None:
    """``kill -9`` of the supervisor: all it kept ends by itself, and it is started again."""
    pid = _pid(stage, GOVERNOR)
    stage.plant.kill_supervisor()
    stage.crashes += 1
    window.fired = stage.until(lambda: not Path(f"/proc/{pid}").exists())
    stage.plant.start()
    stage.restarts += 1


def freeze(stage: Stage, window: Window, seconds: float) -> None:
    """SIGSTOP of the governor, SIGCONT later: the beats that were missed are not made up."""
    pid = _pid(stage, GOVERNOR)
    os.kill(pid, signal.SIGSTOP)
    stage.crashes += 1  # what was on its way to Telegram may have timed out meanwhile
    try:
        window.fired = stage.until(lambda: is_stopped(pid))
        frozen = time.time()
        stage.rest(seconds)
        thawed = time.time()
    finally:
        os.kill(pid, signal.SIGCONT)
    stage.rest(3.0)
    burst = len(stage.ledger.since(thawed)) - 3
    if burst > 2:
        stage.found.append(f"{burst} cycles too many in the 3 s after {thawed - frozen:.0f} s of SIGSTOP")


def _pid(stage: Stage, name: str) -> int:
    found: list[int] = []

    def look() -> bool:
        pid = stage.plant.pid(name)
        found.extend([] if pid is None else [pid])
        return bool(found)

    if not stage.until(look):
        raise RuntimeError(f"there is no {name} to act upon")
    return found[0]
