"""What a governor takes that goes on and on: memory, and nothing while it waits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.benchmarks.measures import Table, dashboard_apart, governor, until

pytestmark = pytest.mark.bench

EARLY, LATE = 200, 2_000
IDLE_SECONDS = 20
GROWTH_MIB = 0.25
"""What counts as not growing: less than 150 bytes in a cycle."""


def resident_mib(pid: int) -> float:
    """Return the memory that a process really has, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def ticks(pid: int) -> int:
    """Return the processor time of a process in ticks of the kernel, a hundredth of a second each as a rule."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_memory(table: Table, tmp_path: Path) -> None:
    """The loop at an interval of 10 ms, each cycle a move that is journalled and published: memory early and late."""
    with (
        dashboard_apart(4) as dashboard,
        governor(tmp_path, dashboard.url, INTERVAL="0.01", DERISK_THRESHOLD="0.01") as process,
    ):
        until(lambda: dashboard.asked() >= EARLY, seconds=120, pause=0.02)
        early = resident_mib(process.pid)
        until(lambda: dashboard.asked() >= LATE, seconds=300, pause=0.1)
        late = resident_mib(process.pid)
    table.add(f"resident memory after {EARLY} cycles", early, "MiB", 56)
    table.add(f"its growth from {EARLY} to {LATE:,} cycles", late - early, "MiB", GROWTH_MIB)


def test_idling(table: Table, tmp_path: Path) -> None:
    """Between two cycles a governor takes no processor time at all."""
    status = tmp_path / "runtime" / "capital_governor_status.json"
    with dashboard_apart(4) as dashboard, governor(tmp_path, dashboard.url) as process:
        until(status.exists, seconds=30, pause=0.05)
        time.sleep(1)
        before = ticks(process.pid)
        time.sleep(IDLE_SECONDS)
        taken = ticks(process.pid) - before
    table.add(f"processor time in {IDLE_SECONDS} s of idling", taken, "ticks", 0)
