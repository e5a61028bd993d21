"""What a whole cycle costs above what the disk takes for it anyway."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.measures import REPOSITORY, Table

pytestmark = pytest.mark.bench


@pytest.mark.parametrize(("agents", "aim_milliseconds"), [(3, 4.0), (1_000, 12.0)])
def test_cycle(table: Table, tmp_path: Path, agents: int, aim_milliseconds: float) -> None:
    """A cycle that publishes, in a process of its own; see ``one_governor``."""
    command = [sys.executable, "-m", "tests.benchmarks.one_governor", str(tmp_path), str(agents)]
    answer = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
    medians = {what: seconds * 1e3 for what, seconds in json.loads(answer.stdout).items()}
    of = f"{agents:,} agents"
    table.add(f"the dashboard's answer on a bare socket, {of}", medians["dashboard"], "ms")
    table.add(f"journal and both files alone, {of}", medians["alone"], "ms")
    table.add(f"whole cycle that moves, {of}", medians["whole"], "ms")
    table.add(f"whole cycle above that, {of}", medians["whole"] - medians["alone"], "ms", aim_milliseconds)
