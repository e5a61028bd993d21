"""What a whole cycle costs above what the disk takes for it anyway."""

from __future__ import annotations

import asyncio
import io
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from capital_governor.adapters import files, logs
from capital_governor.adapters.journal import LIVE, Record
from capital_governor.adapters.sqlite import SqliteJournal, open_sqlite
from capital_governor.core.decision import commit
from capital_governor.core.model import Rules, State
from capital_governor.core.publication import documents
from capital_governor.governor import Governor, open_governor
from capital_governor.settings import Settings, load
from capital_governor.status import Outcome
from tests.benchmarks.measures import Table, dashboard_apart, medians_in_turn

pytestmark = pytest.mark.bench

TURNS = 61


@contextmanager
def ticking(settings: Settings) -> Iterator[tuple[Governor, asyncio.AbstractEventLoop]]:
    """A governor and its event loop, logs going nowhere."""
    loop = asyncio.new_event_loop()
    sink = logs.configure(level="INFO", fmt="console", secrets=(), stream=io.StringIO())
    governor = loop.run_until_complete(open_governor(settings, sink))
    try:
        yield governor, loop
    finally:
        loop.run_until_complete(governor.close())
        loop.close()


@dataclass(slots=True)
class Publisher:
    """Does only what must be durable of a cycle, as a cycle does it: the journal's commit and the two files."""

    paths: files.Paths
    journal: SqliteJournal
    rules: Rules
    state: State = field(default_factory=State)

    def publish(self, done: Outcome) -> float:
        """Return the seconds it took."""
        assert self.state == done.before
        after = commit(done.decision)
        assert after.published is not None
        primary, override = documents(after.published)
        record = Record(
            book=LIVE, inputs=done.inputs, state=self.state, rules=self.rules, decision=done.decision, after=after
        )
        start = time.perf_counter()
        self.journal.record(record)
        files.converge(self.paths, primary, override, policy="assert", stopped=lambda: False)
        self.journal.reached(after.published.generation)
        seconds = time.perf_counter() - start
        self.state = after
        return seconds


def ask_bare(url: str) -> float:
    """Ask the dashboard through a bare socket; return the seconds until its whole answer was there."""
    host, port = url.removeprefix("http://").split(":")
    start = time.perf_counter()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /meta/metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        while connection.recv(1 << 20):
            pass
    return time.perf_counter() - start


@pytest.mark.parametrize(("agents", "aim_milliseconds"), [(3, 4.0), (1_000, 12.0)])
def test_cycle(table: Table, tmp_path: Path, agents: int, aim_milliseconds: float) -> None:
    """A cycle that publishes, network, status file and log lines included, by turns with its durable part alone."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "alone").mkdir()
    paths = files.Paths(tmp_path / "alone")
    paths.make_folder()
    journal = open_sqlite(tmp_path / "alone" / "journal.sqlite3")
    last: list[Outcome] = []
    with dashboard_apart(agents) as dashboard:
        settings = load(tmp_path / "whole", {"NEOLIGHT_DASHBOARD_URL": dashboard.url})
        with ticking(settings) as (governor, loop):

            def whole() -> float:
                start = time.perf_counter()
                last[:] = [loop.run_until_complete(governor.tick())]
                seconds = time.perf_counter() - start
                assert last[0].decision.proposal is not None, last[0].decision.reason
                return seconds

            publisher = Publisher(paths, journal, settings.rules())
            cycle, alone = medians_in_turn(whole, lambda: publisher.publish(last[0]), TURNS)
        bare = statistics.median(ask_bare(dashboard.url) for _ in range(TURNS))
    journal.close()
    table.add(f"the dashboard's answer on a bare socket, {agents:,} agents", bare * 1e3, "ms")
    table.add(f"journal and both files alone, {agents:,} agents", alone * 1e3, "ms")
    table.add(f"whole cycle that moves, {agents:,} agents", cycle * 1e3, "ms")
    table.add(f"whole cycle above that, {agents:,} agents", (cycle - alone) * 1e3, "ms", aim_milliseconds)
