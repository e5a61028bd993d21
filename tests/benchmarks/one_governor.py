"""One governor alone in its process, as in life: what its cycles take, by turns with unsafe work of the same kind.

    python -m tests.benchmarks.one_governor FOLDER AGENTS TURNS

prints medians in seconds as JSON. What ran before in the same process would weigh on every figure: its heap is in the
caches' way, and may make a cycle half as long again.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from capital_governor.adapters import file_convergence, logs
from capital_governor.adapters.paths import Paths
from capital_governor.contracts.allocation_files import documents
from capital_governor.core.decision import commit
from capital_governor.core.model import Rules, State
from capital_governor.journal.protocol import LIVE, Record
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from capital_governor.service.governor import Governor, open_governor
from capital_governor.service.standing import Outcome
from capital_governor.settings.load import Settings, load
from capital_governor.wording.log_events import log_text
from tests.benchmarks.measures import both_files, dashboard_apart, medians_in_turn
from tests.benchmarks.unsafe_governor import new_client, unsafe_cycle


@contextmanager
def ticking(settings: Settings) -> Iterator[tuple[Governor, asyncio.AbstractEventLoop]]:
    """A governor and its event loop, logs going nowhere."""
    loop = asyncio.new_event_loop()
    sink = logs.configure(level="INFO", fmt="console", secrets=(), words=log_text, stream=io.StringIO())
    governor = loop.run_until_complete(open_governor(settings, sink))
    try:
        yield governor, loop
    finally:
        loop.run_until_complete(governor.close())
        loop.close()


@dataclass(slots=True)
class Publisher:
    """Does only what must be durable of a cycle, as a cycle does it: the journal's commit and the two files."""

    paths: Paths
    journal: Store
    rules: Rules
    state: State = field(default_factory=State)
    previous: str = ""

    def publish(self, done: Outcome) -> float:
        """Return the seconds it took."""
        assert self.state == done.before
        after = commit(done.decision)
        assert after.published is not None
        primary, override = documents(after.published)
        record = Record(
            book=LIVE,
            previous=self.previous,
            inputs=done.inputs,
            state=self.state,
            rules=self.rules,
            decision=done.decision,
            after=after,
        )
        start = time.perf_counter()
        self.journal.record(record)
        file_convergence.converge(self.paths, primary, override, policy="assert", stopped=lambda: False)
        self.journal.reached(after.published.generation)
        seconds = time.perf_counter() - start
        self.state, self.previous = after, record.key
        return seconds


@contextmanager
def disk_calls() -> Iterator[list[float]]:
    """Add up in a list of one how many seconds fsync and COMMIT take, of journals that are opened in the block."""
    seconds = [0.0]
    real = os.fsync

    def fsync(fd: int) -> None:
        start = time.perf_counter()
        real(fd)
        seconds[0] += time.perf_counter() - start

    class Timed(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if sql != "COMMIT":
                return super().execute(sql, parameters)
            start = time.perf_counter()
            done = super().execute(sql)
            seconds[0] += time.perf_counter() - start
            return done

    with mock.patch.object(os, "fsync", fsync), mock.patch.object(sqlite3, "Connection", Timed):
        yield seconds


def ask_bare(url: str) -> float:
    """Ask the dashboard through a bare socket; return the seconds until its whole answer was there."""
    host, port = url.removeprefix("http://").split(":")
    start = time.perf_counter()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /meta/metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        while connection.recv(1 << 20):
            pass
    return time.perf_counter() - start


def measure(folder: Path, agents: int, turns: int) -> dict[str, float]:
    """Return median seconds.

    ``whole``: a cycle that moves; network, status file and log lines are in it. ``disk``: its calls of fsync and
    COMMIT, which mostly wait for the disk. ``alone``: its durable part. ``unsafe``: an unsafe governor's cycle.
    ``dashboard``: its answer. The unsafe governor has a dashboard of its own, since by turns the answers differ.
    """
    for name in ("whole", "alone", "unsafe/runtime"):
        (folder / name).mkdir(parents=True)
    paths = Paths(folder / "alone")
    paths.make_folder()
    journal = open_sqlite(folder / "alone" / "journal.sqlite3")
    primary, override = both_files(folder / "unsafe")
    last: list[Outcome] = []
    waits: list[float] = []
    with (
        disk_calls() as waited,
        dashboard_apart(agents) as dashboard,
        dashboard_apart(agents) as other,
        new_client(other.url) as client,
        (folder / "unsafe" / "log").open("w") as log,
    ):
        settings = load(folder / "whole", {"NEOLIGHT_DASHBOARD_URL": dashboard.url})
        with ticking(settings) as (governor, loop):

            def whole() -> float:
                waited[0] = 0.0
                start = time.perf_counter()
                last[:] = [loop.run_until_complete(governor.tick())]
                seconds = time.perf_counter() - start
                waits.append(waited[0])
                assert last[0].decision.proposal is not None, last[0].decision.reason
                return seconds

            publisher = Publisher(paths, journal, settings.rules())
            cycle, alone, unsafe = medians_in_turn(
                whole,
                lambda: publisher.publish(last[0]),
                lambda: unsafe_cycle(client, primary, override, log),
                turns=turns,
            )
        bare = statistics.median(ask_bare(dashboard.url) for _ in range(turns))
    journal.close()
    disk = statistics.median(waits)
    return {"whole": cycle, "disk": disk, "alone": alone, "unsafe": unsafe, "dashboard": bare}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), *map(int, sys.argv[2:]))))  # noqa: T201 - the answer
