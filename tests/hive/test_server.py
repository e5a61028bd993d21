"""The hive as a real process on loopback, and what may stand in its way."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from capital_governor.client import record
from capital_governor.contracts.payload import parse
from capital_governor.core.model import Refusal, Snapshot
from capital_governor.core.reason import Reason
from capital_governor.hive.past_file import PAST, past_of
from capital_governor.hive.sampler import Sampler
from capital_governor.hive.server import Hive, HiveError, address, bind
from capital_governor.hive.state_files import PAUSE, PERFORMANCE, REGIME
from tests.faults.surroundings import needs_ipv6
from tests.rigs.busy_fleet import MIDNIGHT, BusyFleet
from tests.rigs.fleet_files import DAY, NOW, regime, stamp, two_agents
from tests.rigs.hive_server import Served, command, environment, free_port, serving
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.preludes import MAIN


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("neolight"), free_port()) as server:
        yield server


def fill(served: Served) -> Any:
    document = two_agents(time.time())
    served.put(PERFORMANCE, document)
    served.put(REGIME, regime(time.time()))
    (served.root / PAUSE).unlink(missing_ok=True)
    return document


def test_a_trade_counts_at_the_next_request(tmp_path: Path) -> None:
    """What an agent reports while the hive runs is in the answer to the request that follows."""
    (tmp_path / "state").mkdir()
    now = datetime.now(UTC)
    with serving(tmp_path, free_port()) as server:
        assert "no agent has reported a decision" in server.get("/meta/metrics").json()["error"]
        for days, pnl in ((2, -10.0), (0.5, 30.0)):
            record("GridBot", pnl, root=tmp_path, at=now - timedelta(days=days))
        first = server.asked_by_the_governor()
        record("GridBot", 5.0, root=tmp_path)
        second = server.asked_by_the_governor()
        assert isinstance(first, Snapshot)
        assert isinstance(second, Snapshot)
        assert (first.metrics["GridBot"].pnl_7d, second.metrics["GridBot"].pnl_7d) == (20.0, 25.0)
        assert server.get("/status").json()["sources"]["state/decisions"] == "read"
        report = max((tmp_path / "state" / "decisions").glob("GridBot.*"))
        report.write_text("hallo\n" + report.read_text())
        assert isinstance(server.asked_by_the_governor(), Snapshot)
        wait_until(lambda: f"warning: state/decisions/{report.name}, line 1: torn" in server.log.read_text())


def test_the_governor_reads_it(served: Served) -> None:
    """Over the wire, the governor's own fetch gets both agents, the regime and a guardian that is not paused."""
    fill(served)
    found = served.asked_by_the_governor()
    assert isinstance(found, Snapshot)
    assert found.metrics.keys() == {"SmartTrader", "DropshipAgent"}
    assert found.at == pytest.approx(time.time(), abs=30)
    assert found.regime is not None
    assert found.guardian is not None
    assert (found.regime.risk_multiplier, found.guardian.is_paused) == (0.8, False)


def test_each_answer_is_of_now(served: Served) -> None:
    """What changes in the files is in the next answer: nothing is kept from the last one."""
    document = fill(served)
    served.put(PAUSE, {"paused": True, "reason": "Manual check"})
    assert served.get("/meta/metrics").json()["guardian"]["is_paused"] is True
    document["decisions"] = document["decisions"][:3]
    served.put(PERFORMANCE, document)
    assert served.get("/meta/metrics").json()["per_agent"].keys() == {"SmartTrader"}


def test_performance_and_regime_are_the_files(served: Served) -> None:
    """Both pages answer what stands in their file."""
    document = fill(served)
    assert served.get("/meta/performance").json() == document
    assert served.get("/meta/regime").json()["regime"] == "SIDEWAYS"
    assert served.get("/meta/regime").headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [(PERFORMANCE, '{"decisions": [', "torn or no JSON"), (REGIME, "[]", "not a JSON object")],
)
def test_a_torn_file_holds_the_governor(served: Served, path: Path, content: str, said: str) -> None:
    """A torn file is a 503 that says so, on its own page too; the governor holds; /status stays 200."""
    fill(served)
    served.put(path, content)
    answer = served.get("/meta/metrics")
    assert answer.status_code == 503
    assert said in answer.json()["error"]
    page = {PERFORMANCE: "/meta/performance", REGIME: "/meta/regime"}[path]
    assert served.get(page).status_code == 503
    assert said in served.get(page).json()["error"]
    refusal = served.asked_by_the_governor()
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.FETCH_FAILED
    status = served.get("/status")
    assert status.status_code == 200
    assert said in status.json()["sources"][str(path)]
    wait_until(lambda: f"{path}: {said}" in served.log.read_text())
    assert served.log.read_text().count(f"{path}: {said}") == 1
    fill(served)
    assert isinstance(served.asked_by_the_governor(), Snapshot)


@contextmanager
def clocked(root: Path, now: list[float]) -> Iterator[tuple[Hive, list[str]]]:
    """A hive on the root whose clock shows ``now[0]``, and its log."""
    said: list[str] = []
    yield Hive(root, 100_000.0, said.append, lambda: now[0]), said


def asked(hive: Hive) -> Any:
    """The payload of a hive that runs in this process."""

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(hive.app()), base_url="http://localhost") as client:
            return await client.get("/meta/metrics")

    return asyncio.run(ask()).json()


def test_a_busy_fleet_is_governed_after_a_day(tmp_path: Path) -> None:
    """The governor takes every agent of a fleet whose file reaches back 8 hours only, once the second day has begun.

    Before, the sentence says what is missing and until when. Each answer is of a hive that was just started.
    """
    fleet, now = BusyFleet(MIDNIGHT - 2 * DAY), [0.0]
    for hours in range(2, 32, 2):
        fleet.run(2 / 24)
        fleet.write(tmp_path)
        now[0] = fleet.at
        with clocked(tmp_path, now) as (hive, said):
            hive.sample()
            whole = asked(hive)
        found = parse(json.dumps(whole).encode())
        assert isinstance(found, Snapshot)
        assert (found.faults == {}) is (hours > 24)
        assert (len(found.metrics) == 3) is (hours > 24)
        if hours == 20:
            assert whole["per_agent"]["Agent1"]["problem"] == (
                "no Sharpe ratio: its attributed decisions reach back 20.0 h, and it needs two days: the second one"
                " begins in 4.0 h"
            )
            assert any("none from before 2025-11-01T00:00:" in warning for warning in whole["warnings"])
            assert any(line.startswith("warning: the file holds 1000 decisions") for line in said)


def test_a_warning_is_logged_when_it_comes_up(tmp_path: Path) -> None:
    """Once, also while its figures change; again when it was gone in between."""
    (tmp_path / "state").mkdir()
    (tmp_path / "runtime").mkdir()
    now = [NOW]
    (tmp_path / PERFORMANCE).write_text(json.dumps(two_agents()))
    (tmp_path / REGIME).write_text(json.dumps(regime(timestamp=stamp(0.5))))
    with clocked(tmp_path, now) as (hive, said):
        for seconds in (0, 60, 120):
            now[0] = NOW + seconds
            asked(hive)
        (tmp_path / REGIME).write_text(json.dumps(regime()))
        asked(hive)
        (tmp_path / REGIME).write_text(json.dumps(regime(timestamp=stamp(0.5))))
        asked(hive)
    assert [line for line in said if line.startswith("warning")] == [
        f"warning: runtime/market_regime.json is {age} s old: what detects the market regime seems to be dead"
        for age in (43200, 43320)
    ]


OFTEN = """
from capital_governor.hive import past_file
past_file.SHORTEST_SECONDS = 0.2
"""


def test_no_decision_is_missed_while_nobody_asks(tmp_path: Path) -> None:
    """A real hive that no request reaches takes in what the file held at its start, and what it holds later."""
    fleet = BusyFleet(time.time(), a_day=8_640_000)  # its file spans ten seconds
    program = [sys.executable, "-c", OFTEN + MAIN, "hive", "--root", str(tmp_path)]
    fleet.at -= 1_200 * DAY / fleet.a_day
    fleet.run(1_000 / fleet.a_day)
    fleet.write(tmp_path)
    with serving(tmp_path, free_port(), program):
        path = tmp_path / PAST
        wait_until(path.exists)
        fleet.run(200 / fleet.a_day)
        fleet.write(tmp_path)
        wait_until(lambda: len(past_of(path.read_bytes()).left) >= 199)


def test_a_killed_hive_goes_on_where_it_was(tmp_path: Path) -> None:
    """After a kill the next process has the figures of decisions that left the file before it began."""
    fleet = BusyFleet(time.time() - 1.8 * DAY)
    port = free_port()
    for _ in range(5):
        fleet.run(0.3)
        with clocked(tmp_path, [fleet.at]) as (hive, _):
            fleet.write(tmp_path)
            hive.sample()
    for _ in range(2):
        fleet.run(0.1)
        fleet.write(tmp_path)
        with serving(tmp_path, port) as server:
            found = server.asked_by_the_governor()
            assert isinstance(found, Snapshot)
            assert (found.faults, set(found.metrics)) == ({}, {"Agent0", "Agent1", "Agent2"})
            server.process.kill()
            server.process.wait(PATIENCE_SECONDS)


def test_a_look_that_fails_does_not_end_the_sampling() -> None:
    """What it raised is in the log, and the next look comes."""
    said, looks = list[str](), threading.Semaphore(0)

    def look() -> float:
        looks.release()
        if len(said) < 2:
            raise ValueError("odd")
        return 60.0

    with Sampler(look, said.append, 0.01):
        for _ in range(3):
            assert looks.acquire(timeout=PATIENCE_SECONDS)
    assert said == ["looking at the decisions failed: ValueError: odd"] * 2


def test_other_requests(served: Served) -> None:
    """An unknown page is 404, and nothing can be posted."""
    assert served.get("/meta").status_code == 404
    with httpx.Client(trust_env=False) as client:
        assert client.post(f"{served.url}/meta/metrics", json={}, timeout=PATIENCE_SECONDS).status_code == 405


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end it with exit code 0, and the port is free for the next one at once."""
    port = free_port()
    for _ in range(2):
        with serving(tmp_path, port) as server:
            server.get("/status")
            server.process.send_signal(number)
            assert server.process.wait(PATIENCE_SECONDS) == 0
            assert "stopped" in server.log.read_text()


EARLY = """
import signal, sys, uvicorn
from capital_governor.cli.parser import execute
run = uvicorn.Server.run
def run_late(*arguments, **named):
    signal.raise_signal(int(sys.argv[1]))
    run(*arguments, **named)
uvicorn.Server.run = run_late
sys.exit(execute(["hive", "--root", sys.argv[2]]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_it_serves_is_not_lost(tmp_path: Path, number: signal.Signals) -> None:
    """One that comes once it has said that it serves, but before its server runs, ends it too."""
    program = [sys.executable, "-P", "-c", EARLY, str(int(number)), str(tmp_path)]
    environs = environment(f"http://localhost:{free_port()}")
    ran = subprocess.run(program, env=environs, stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    assert b"serving" in ran.stderr
    assert b"stopped" in ran.stderr


HANGS = """
import os, sys, threading
from capital_governor.cli.parser import execute
from capital_governor.hive import past_file
past_file.PATIENCE_SECONDS = 0.5
fsync = os.fsync
def hang(descriptor):
    if (threading.current_thread().name == "sampler") is (sys.argv[1] == "sampler"):
        print("hangs", file=sys.stderr, flush=True)
        threading.Event().wait()
    fsync(descriptor)
os.fsync = hang
sys.exit(execute(["hive", "--root", sys.argv[2]]))
"""


@pytest.mark.parametrize("which", ["sampler", "request"])
def test_a_disk_that_hangs_stops_neither_answers_nor_the_end(tmp_path: Path, which: str) -> None:
    """While the history cannot be written to the end, the answer is a 503 that says so, and a signal ends the hive.

    Figures of the file alone may be of a shorter time than they say, so the governor holds.
    """
    program = [sys.executable, "-P", "-c", HANGS, which, str(tmp_path)]
    (tmp_path / "state").mkdir()
    (tmp_path / PERFORMANCE).write_text(json.dumps(two_agents(time.time())))
    with serving(tmp_path, free_port(), program) as server:
        if which == "request":
            wait_until((tmp_path / PAST).exists)  # the sampler has written
            fill(server)
            with pytest.raises(httpx.ReadTimeout), httpx.Client(trust_env=False) as client:
                client.get(f"{server.url}/meta/metrics", timeout=httpx.Timeout(PATIENCE_SECONDS, read=0.5))
        wait_until(lambda: "hangs" in server.log.read_text())
        answer = server.get("/meta/metrics")
        assert answer.status_code == 503
        assert "the history is busy: its disk hangs" in answer.json()["error"]
        assert server.get("/status").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert "stopped" in server.log.read_text()


@pytest.mark.parametrize(
    "place",
    [("127.0.0.1", socket.AF_INET), ("0.0.0.0", socket.AF_INET), ("::1", socket.AF_INET6)],  # noqa: S104 - on purpose
)
def test_a_taken_port_is_left_to_who_has_it(tmp_path: Path, place: tuple[str, socket.AddressFamily]) -> None:
    """Whoever serves at the port already, at this or at every address, is not shadowed: exit 78 and one sentence."""
    host, family = place
    if host == "::1":
        needs_ipv6()
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        url = f"http://localhost:{port}"
        ran = subprocess.run(
            command(tmp_path),
            env=environment(url),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert (ran.returncode, ran.stdout) == (78, "")
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"capital-governor: hive: port {port} is taken: ")
    assert "NEOLIGHT_DASHBOARD_URL" in line


@pytest.mark.parametrize(
    "url",
    ["http://dashboard.example:8100", "https://localhost:8100", "http://localhost:8100/neolight", "http://[::1]:8100"],
)
def test_a_dashboard_elsewhere_is_not_replaced(url: str) -> None:
    """The hive serves only what the governor would ask for at 127.0.0.1."""
    with pytest.raises(HiveError, match="set it to such a URL, or leave the hive off"):
        address(url)


@pytest.mark.parametrize(
    ("url", "port"), [("http://localhost:8100", 8100), ("http://127.0.0.1:9000", 9000), ("http://localhost", 80)]
)
def test_port_of_the_dashboard(url: str, port: int) -> None:
    """The port is the URL's."""
    assert address(url) == port


def test_two_hives_do_not_share_a_port() -> None:
    """A second socket at the same port is refused, though addresses are reused for restarts."""
    with bind(0) as first, pytest.raises(HiveError, match="is taken"):
        bind(first.getsockname()[1])


def test_a_log_that_nobody_reads_stops_no_answer(tmp_path: Path) -> None:
    """With a stalled reader behind its standard error the hive answers, and a signal ends it."""
    for folder in ("state", "runtime"):
        (tmp_path / folder).mkdir()
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, b"x" * 4096)
    port = free_port()
    url = f"http://localhost:{port}"
    process = subprocess.Popen(command(tmp_path), env=environment(url), stderr=writing)
    try:
        server = Served(tmp_path, url, process, tmp_path / "none")

        def up() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return server.get("/status").status_code == 200
            return False

        wait_until(up)
        for content in ("[]", "{") * 3:  # each is news for the log
            server.put(REGIME, content)
            assert server.get("/meta/metrics").status_code == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait(10)
        os.close(reading)
        os.close(writing)
