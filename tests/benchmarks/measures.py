"""Benchmarks: what the governor costs, measured and printed, never asserted.

    ./neo_light_fix.sh test --bench            # all, some three minutes
    pytest tests/benchmarks -m bench -s -k start

At the end comes one table: what was measured, the figure, the aim, and whether it was kept. A time says little about
another machine, and on a busy one about nothing, hence

- medians, of figures that are taken in turn where two are compared, so that a disturbance hits both;
- ratios and differences within one run wherever there is something to compare with;
- the load of the machine in the table's head: above 1 or so, run it again.

Who makes a figure worse on purpose says so where the aim is written down.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.rigs.dashboard import Dashboard, fixed, payload, record
from tests.rigs.raw_server import Connection, Script

REPOSITORY: Final = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class Table:
    """The rows of all benchmarks of a session."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def add(self, measure: str, figure: float, unit: str, aim: float | None = None, note: str = "") -> None:
        """Add one figure; the aim, in the same unit, is an upper bound that itself is still good."""
        verdict = "" if aim is None else "kept" if figure <= aim else "MISSED"
        bound = "" if aim is None else f"<= {aim:g} {unit}"
        self.rows.append((measure, f"{figure:.4g} {unit}", bound, f"{verdict}{'  ' if verdict and note else ''}{note}"))

    def text(self) -> str:
        """Return the table, as wide as its words."""
        rows = [("measure", "figure", "aim", ""), *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            f"{measure:<{widths[0]}}  {figure:>{widths[1]}}  {aim:>{widths[2]}}  {rest}".rstrip()
            for measure, figure, aim, rest in rows
        ]
        return "\n".join([f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", *lines])


def median_seconds(work: Callable[[], object], *, repeats: int, number: int = 1) -> float:
    """Return the median time of one call, over ``repeats`` times ``number`` calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(number):
            work()
        times.append((time.perf_counter() - start) / number)
    return statistics.median(times)


def medians_in_turn(*measurements: Callable[[], float], turns: int) -> list[float]:
    """Return the median of what each measurement returns when they take turns."""
    rows = [[measure() for measure in measurements] for _ in range(turns)]
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def fleet(size: int) -> dict[str, dict[str, Any]]:
    """Return ``size`` agents that all score differently."""
    return {
        f"Agent{number:05}": record(
            pnl=40.0 * (number * 37 % 251), sharpe=0.01 * (number * 53 % 307), winrate=0.001 * (number * 71 % 997)
        )
        for number in range(size)
    }


# --- a dashboard in a process of its own, so that it takes no time from what is measured -----------------------------

SERVE: Final = "import sys; from tests.benchmarks.measures import serve; serve(int(sys.argv[1]))"


def serve(agents: int) -> None:
    """Serve two payloads by turns until stdin ends: the regime changes, so that every cycle of the reader moves."""
    answers = itertools.cycle([fixed(payload(fleet(agents), risk=risk)) for risk in (1.0, 0.5)])

    def script(connection: Connection) -> None:
        answer: Script = next(answers)
        answer(connection)

    with Dashboard(script) as dashboard:
        print(dashboard.url, flush=True)  # noqa: T201 - tells the parent where
        for _ in sys.stdin:  # each line asks how often metrics were asked for
            print(len(dashboard.asked), flush=True)  # noqa: T201 - the answer


class Remote:
    """The dashboard in its process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = self._read()

    def asked(self) -> int:
        """Return how often metrics were asked for."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def dashboard_apart(agents: int) -> Iterator[Remote]:
    """A dashboard of so many agents in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(agents)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Remote(process)
        assert process.stdin is not None
        process.stdin.close()


@contextmanager
def governor(root: Path, url: str, **own: str) -> Iterator[subprocess.Popen[bytes]]:
    """A governor in its process, ended by SIGTERM. ``own`` are settings without their prefix."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "capital_governor", "run", "--root", root],
        env={"PATH": os.defpath, "NEOLIGHT_DASHBOARD_URL": url}
        | {f"CAPITAL_GOVERNOR_{name}": value for name, value in own.items()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def until(condition: Callable[[], bool], *, seconds: float, pause: float) -> None:
    """Wait for a condition, looking every ``pause`` seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(pause)


def as_bytes(document: object) -> bytes:
    """Return a document as it comes over the wire."""
    return json.dumps(document).encode()


def both_files(root: Path) -> Sequence[Path]:
    """Return where the two allocation files are."""
    return [root / "runtime" / name for name in ("capital_governor_allocations.json", "allocations_override.json")]
