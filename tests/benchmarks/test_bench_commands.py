"""How long the commands take that an operator types in a hurry, from the shell's start of them to their end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.benchmarks.measures import Table, dashboard_apart, medians_in_turn

pytestmark = pytest.mark.bench

TURNS: Final = 15
AIM_SECONDS: Final = 0.3
PYTHON: Final = [sys.executable, "-P"]
COMMANDS: Final = ("status", "hold --for 1h", "limits", "resume", "limit Agent00001 --max 0.1", "unlimit Agent00001")


def seconds(words: list[str], environment: dict[str, str]) -> float:
    """Return how long a process takes; ``status`` ends with 75 where no governor runs."""
    start = time.perf_counter()
    done = subprocess.run([*PYTHON, *words], env=environment, capture_output=True, check=False)
    taken = time.perf_counter() - start
    assert done.returncode in {0, 75}, done.stderr
    return taken


def test_commands(table: Table, tmp_path: Path) -> None:
    """Each command as a whole on a root of three agents, its bytecode cached as it is for everybody."""
    environment = {"PATH": os.defpath, "PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}
    root = tmp_path / "root"
    root.mkdir()
    program = ["-m", "capital_governor"]
    with dashboard_apart(3) as dashboard:
        once = [*program, "once", "--root", str(root)]
        seconds(once, environment | {"NEOLIGHT_DASHBOARD_URL": dashboard.url})
    measured = [partial(seconds, [*program, *words.split(), "--root", str(root)], environment) for words in COMMANDS]
    bare = partial(seconds, ["-c", "pass"], environment)
    for each in (bare, *measured):
        each()
    base, *medians = medians_in_turn(bare, *measured, turns=TURNS)
    table.add("start of Python alone", base, "s")
    for words, median in zip(COMMANDS, medians, strict=True):
        table.add(f"`{words.split()[0]}` as a whole command", median, "s", AIM_SECONDS)
