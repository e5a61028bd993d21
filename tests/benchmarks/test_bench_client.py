"""What a trading agent pays for asking its share."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from capital_governor.client import share
from capital_governor.contracts.allocation_files import documents
from capital_governor.core.decision import commit, decide
from capital_governor.core.model import Inputs, Rules, State
from capital_governor.service.standing import Standing, Vitals, status_document
from tests.benchmarks.measures import Table, median_seconds
from tests.rigs.builders import snapshot

pytestmark = pytest.mark.bench

TURNS = 25
TIMED = "import time; begun = time.perf_counter(); import {}; print(time.perf_counter() - begun)"


def import_seconds(module: str, cache: Path) -> float:
    """Return the median time of an import in a new process, its bytecode cached as it is for everybody."""
    words = [sys.executable, "-P", "-c", TIMED.format(module)]
    environment = {"PATH": os.defpath, "PYTHONPYCACHEPREFIX": str(cache)}
    times = [
        float(subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout)
        for _ in range(TURNS)
    ]
    return statistics.median(times[1:])


def test_import(table: Table, tmp_path: Path) -> None:
    """Importing the client, beside the mere import of json, which an agent has anyway."""
    table.add("import of json", import_seconds("json", tmp_path) * 1e3, "ms")
    table.add(
        "import of capital_governor.client", import_seconds("capital_governor.client", tmp_path) * 1e3, "ms", 15.0
    )


@pytest.mark.parametrize("agents", [3, 1_000])
def test_share(table: Table, tmp_path: Path, agents: int) -> None:
    """One call of share(), both files read and checked."""
    now = time.time()
    payload = snapshot({f"Agent{number}": 0.001 * (number % 997) for number in range(agents)}, at=now)
    after = commit(decide(Inputs(now, payload), State(), Rules()))
    assert after.published is not None
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    (runtime / "capital_governor_allocations.json").write_bytes(documents(after.published)[0])
    standing = Standing(state="governing", at=now, published=after.published)
    content = status_document(standing, Vitals(), interval_seconds=3_600, rules=Rules(), dry_run=False, pid=1)
    (runtime / "capital_governor_status.json").write_bytes(content)
    assert share("Agent1", root=tmp_path) > 0
    seconds = median_seconds(lambda: share("Agent1", root=tmp_path), repeats=25, number=10)
    table.add(f"share() among {agents} agents", seconds * 1e3, "ms")
