"""How long after its start a governor has published."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.measures import Table, both_files, dashboard_apart, governor, medians_in_turn, until

pytestmark = pytest.mark.bench

LIBRARIES = "import httpx, pydantic, pydantic_settings, structlog, tenacity"
TURNS = 15


def test_start(table: Table, tmp_path: Path) -> None:
    """From the start of `run` in an empty root to both files, against the mere import of the libraries it stands on."""
    numbers = itertools.count()

    def importing() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-P", "-c", LIBRARIES], env={"PATH": os.defpath}, check=True)
        return time.perf_counter() - start

    with dashboard_apart(3) as dashboard:

        def publishing() -> float:
            root = tmp_path / str(next(numbers))
            root.mkdir()
            start = time.perf_counter()
            with governor(root, dashboard.url):
                until(lambda: all(path.exists() for path in both_files(root)), seconds=30, pause=0.001)
                return time.perf_counter() - start

        importing(), publishing()
        base, start = medians_in_turn(importing, publishing, turns=TURNS)
    table.add("import of the five libraries", base * 1e3, "ms")
    table.add("start of `run` to both files", start * 1e3, "ms")
    table.add("start of `run` / import of the libraries", start / base, "x", 1.3)
