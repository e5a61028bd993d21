"""What an operator orders during a soak, by command, and whether it is obeyed: faults of ``faults.FAULTS``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, Final

from tests.soak.fleet import AGENTS
from tests.soak.stage import Stage, Window

LIMITED: Final = AGENTS[0]
LIMIT: Final = 0.08


def knows(command: str) -> bool:
    """Whether this version of the program has the command."""
    line = [sys.executable, "-P", "-m", "capital_governor", command, "--help"]
    return subprocess.run(line, check=False, capture_output=True, timeout=60).returncode == 0


def operate(stage: Stage, *words: str) -> None:
    """Give the governor an order by command. Raises RuntimeError if it is not taken."""
    line = [sys.executable, "-P", "-m", "capital_governor", *words, "--root", str(stage.plant.root)]
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr}")


def hold(stage: Stage, window: Window, seconds: float) -> None:
    """An operator's hold, taken back before it expires, and one that expires: no new shares meanwhile."""
    operate(stage, "hold", "--for", "1h", "--reason", "soak")
    window.fired = stage.saw(window.begin, "operator_hold")
    held = _published(stage)["generation"]
    stage.fleet.order("swing")
    stage.rest(seconds)
    if _published(stage)["generation"] != held:
        stage.found.append(f"generation {_published(stage)['generation']} was published under an operator's hold")
    operate(stage, "resume")
    resumed = time.time()
    stage.until(lambda: stage.decided(resumed))
    again = time.time()
    operate(stage, "hold", "--for", "3s")
    window.fired &= stage.saw(again, "operator_hold")


def limit(stage: Stage, window: Window, seconds: float) -> None:
    """An operator's limit on one agent: its share is within it until it is taken back."""
    operate(stage, "limit", LIMITED, "--max", str(LIMIT), "--for", "1h", "--reason", "soak")
    try:
        window.fired = stage.until(lambda: _weight(stage) <= LIMIT + 1e-9)
        limited = time.monotonic()
        stage.fleet.order("swing")
        while time.monotonic() < limited + seconds:
            stage.rest(0.2)
            if _weight(stage) > LIMIT + 1e-9:
                stage.found.append(f"{LIMITED} has a weight of {_weight(stage)} in spite of a limit of {LIMIT}")
    finally:
        operate(stage, "unlimit", LIMITED)


def accept(stage: Stage, window: Window, seconds: float) -> None:
    """The guardian block is lost, and the operator accepts that: the governor decides again without it."""
    stage.fleet.order("unguarded")
    try:
        window.fired = stage.saw(window.begin, "guardian_lost")
        operate(stage, "accept")
        accepted = time.time()
        window.fired &= stage.until(lambda: stage.decided(accepted))
        stage.rest(seconds)
    finally:
        stage.fleet.order("well")


def _published(stage: Stage) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(stage.plant.primary.read_bytes())
    return said


def _weight(stage: Stage) -> float:
    return float(_published(stage)["weights"].get(LIMITED, 0.0))
