"""What a whole cycle costs: against unsafe work of the same kind, and above what the disk takes for it anyway."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.measures import REPOSITORY, Table

pytestmark = pytest.mark.bench


@pytest.mark.parametrize(
    ("agents", "turns", "aim_ratio", "aim_milliseconds"),
    [(3, 61, 1.3, 4.0), (1_000, 61, 0.9, 12.0), (10_000, 25, 0.65, None)],
)
def test_cycle(
    table: Table, tmp_path: Path, agents: int, turns: int, aim_ratio: float, aim_milliseconds: float | None
) -> None:
    """A cycle that publishes, in a process of its own; see ``one_governor``."""
    command = [sys.executable, "-m", "tests.benchmarks.one_governor", str(tmp_path), str(agents), str(turns)]
    answer = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
    medians = {what: seconds * 1e3 for what, seconds in json.loads(answer.stdout).items()}
    of = f"{agents:,} agents"
    table.add(f"the dashboard's answer on a bare socket, {of}", medians["dashboard"], "ms")
    table.add(f"unsafe cycle, {of}", medians["unsafe"], "ms")
    table.add(f"journal and both files alone, {of}", medians["alone"], "ms")
    table.add(f"whole cycle that moves, {of}", medians["whole"], "ms")
    table.add(f"of it fsync and COMMIT, {of}", medians["disk"], "ms")
    table.add(f"whole cycle above journal and files, {of}", medians["whole"] - medians["alone"], "ms", aim_milliseconds)
    without = (medians["whole"] - medians["disk"]) / medians["unsafe"]
    note = f"{without:.3g} x without fsync and COMMIT"
    table.add(f"whole cycle / unsafe cycle, {of}", medians["whole"] / medians["unsafe"], "x", aim_ratio, note)
