"""What an operator orders during a soak, by command, and whether it is obeyed: faults of ``faults.FAULTS``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, Final

from tests.soak.stage import Stage, Window

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
    """An operator's limit on the largest agent: its weight is within it until it is taken back."""
    weights = _published(stage)["weights"]
    limited = max(weights, key=lambda name: (weights[name], name))
    window.fired = weights[limited] > LIMIT
    operate(stage, "limit", limited, "--max", str(LIMIT), "--for", "1h", "--reason", "soak")
    try:
        window.fired &= stage.until(lambda: _weight(stage, limited) <= LIMIT + 1e-9)
        for _ in range(2):  # the first lets it lose, the second lets it be better than most again
            stage.fleet.order("swing")
            _watch_limit(stage, limited, seconds / 2)
    finally:
        operate(stage, "unlimit", limited)


def _watch_limit(stage: Stage, limited: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stage.rest(0.2)
        weight = _weight(stage, limited)
        if weight > LIMIT + 1e-9:
            stage.found.append(f"{limited} has a weight of {weight} in spite of a limit of {LIMIT}")


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


def _weight(stage: Stage, agent: str) -> float:
    return float(_published(stage)["weights"].get(agent, 0.0))
