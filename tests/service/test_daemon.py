"""The life of a governor: a real process against a real dashboard, and the beat of its loop in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.core.reason import Reason
from capital_governor.service.daemon import RETRY_SECONDS, repeat, schedule
from capital_governor.service.governor import Governor
from tests.rigs.builders import examples
from tests.rigs.daemon import Daemon, entries, waits
from tests.rigs.dashboard import DOWN, Dashboard, fixed, fresh
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.preludes import PATIENT_END, RECORDS_BEATS
from tests.rigs.raw_server import Connection, hang
from tests.rigs.virtual_time import VirtualLoop

# --- the beat, in virtual time ----------------------------------------------------------------------------------------


def beats(interval: float, ticks: list[tuple[float, bool]]) -> list[float]:
    """When a loop at this interval begins its ticks: each takes so many seconds and succeeds or not."""
    loop = VirtualLoop()
    stop = asyncio.Event()
    begun: list[float] = []

    class Ticking:
        async def guarded_tick(self) -> bool:
            seconds, usable = ticks[len(begun)]
            begun.append(loop.time())
            if len(begun) == len(ticks):
                stop.set()
            await asyncio.sleep(seconds)
            return usable

    try:
        loop.run_until_complete(repeat(cast("Governor", Ticking()), interval, stop))
    finally:
        loop.close()
    return begun


def test_until_the_first_success_it_asks_every_15_seconds() -> None:
    """A long interval is not waited for while there has been no payload yet; with the first one the beat begins."""
    ticks = [(1.0, False)] * 3 + [(2.0, True), (0.1, False), (0.1, True)]
    assert RETRY_SECONDS == 15
    assert beats(300.0, ticks) == pytest.approx([0, 15, 30, 45, 345, 645])


def test_a_shorter_interval_is_also_that_of_the_retries() -> None:
    """With an interval below 15 s, every cycle comes an interval after the one before."""
    assert beats(5.0, [(0.5, False)] * 4 + [(0.5, True)] * 2) == pytest.approx([0, 5, 10, 15, 20, 25])


def test_a_slow_retry_is_not_caught_up_with() -> None:
    """A first fetch that takes longer than the retry's wait is followed by the next at once, not by two."""
    assert beats(300.0, [(20.0, False), (20.0, False), (1.0, True), (0, True)]) == pytest.approx([0, 20, 40, 340])


def test_the_beat_does_not_drift_and_late_beats_are_dropped() -> None:
    """However long ticks take, they begin on multiples of the interval; what was missed is not made up for."""
    ticks = [(3.0, True), (9.0, True), (25.0, False), (31.0, True), (10.0, True), (0.0, True), (0.0, True)]
    assert beats(10.0, ticks) == pytest.approx([0, 10, 20, 50, 90, 110, 120])


@given(start=st.floats(0, 1e8), interval=st.floats(0.01, 31_536_000), late=st.floats(0, 1e9))
@examples(300)
def test_the_next_beat_is_the_first_multiple_after_now(start: float, interval: float, late: float) -> None:
    """The next beat lies ahead, by no more than an interval, and a whole number of intervals after the start."""
    now = start + late
    rounding = 4e-15 * max(now, interval) + 1e-9
    wake = schedule(start, interval, now)
    assert now <= wake <= now + interval + rounding
    beat = round((wake - start) / interval)
    assert beat >= 1
    assert wake == pytest.approx(start + beat * interval, abs=rounding)


def test_the_beat_that_is_now_is_over() -> None:
    """Exactly on a beat the next one is an interval away, also where rounding hides that it is a beat."""
    assert schedule(0.0, 0.01, 1.0) > 1.0


# --- the beat, in real time -------------------------------------------------------------------------------------------


def test_it_starts_at_once_and_keeps_the_beat_through_good_and_bad(root: Path) -> None:
    """A new process asks at once; after slow, failing and good answers alike it waits for a beat of the first."""
    mixed = (fresh(delay_seconds=0.1), DOWN, fixed({"error": "empty"}), fresh(delay_seconds=0.2), fixed(b"[]"))
    with (
        Dashboard(*mixed * 10) as dashboard,
        Daemon(root, dashboard.url, prelude=RECORDS_BEATS) as daemon,
    ):
        dashboard.wait_for(9)
        daemon.end()
    waited = waits(root)
    assert len(waited) >= 8
    assert len({each.start for each in waited}) == 1
    for each, asked in zip(waited, dashboard.asked[1:], strict=False):
        assert each.now < each.wake <= each.now + 0.5 + 1e-6
        beat = (each.wake - each.start) / 0.5
        assert beat == pytest.approx(round(beat), abs=1e-6)
        assert asked > each.wake - 0.01
    lines = daemon.lines()
    assert sum("Starting Capital Governor Intelligence @" in line for line in lines) == 1
    assert sum("Start: nothing is published yet" in line for line in lines) == 1
    assert lines[-1].endswith("Capital Governor stopped")


def test_it_asks_again_soon_until_the_first_success(root: Path) -> None:
    """While the dashboard fails from the start, it is asked again and again and nothing is published, then at once."""
    with Dashboard(DOWN) as dashboard, Daemon(root, dashboard.url, interval=0.3) as daemon:
        dashboard.wait_for(4)
        assert daemon.files() == [None, None]
        assert daemon.status()["reason"] == "fetch_failed"
        dashboard.next(fresh())
        daemon.says("Allocations saved")
        assert None not in daemon.files()
        daemon.end()
    assert sum("Meta-metrics not fetched" in line for line in daemon.lines()) == 1


def test_cycles_never_overlap(root: Path) -> None:
    """A dashboard slower than the interval is asked by one cycle at a time, on every second beat at most."""
    at_once = threading.Semaphore(1)
    overlaps: list[Connection] = []

    def slow(connection: Connection) -> None:
        if not at_once.acquire(blocking=False):
            overlaps.append(connection)
            return
        try:
            fresh(delay_seconds=0.6)(connection)
        finally:
            at_once.release()

    with Dashboard(slow) as dashboard, Daemon(root, dashboard.url, interval=0.4, prelude=RECORDS_BEATS) as daemon:
        dashboard.wait_for(5)
        daemon.end()
    assert overlaps == []
    wakes = [each.wake for each in waits(root)]
    assert len(wakes) >= 4
    assert all(after - before > 2 * 0.4 - 1e-6 for before, after in itertools.pairwise(wakes))


# --- the end ----------------------------------------------------------------------------------------------------------


def idle(daemon: Daemon, dashboard: Dashboard) -> None:
    dashboard.wait_for(1)
    daemon.says("Allocations saved")
    wait_until((daemon.root / "runtime" / "capital_governor_status.json").exists)


def fetching(daemon: Daemon, dashboard: Dashboard) -> None:
    idle(daemon, dashboard)
    asked = threading.Event()

    def script(connection: Connection) -> None:
        asked.set()
        hang(connection)

    dashboard.next(script)
    assert asked.wait(PATIENCE_SECONDS)


def first_fetch(daemon: Daemon, dashboard: Dashboard) -> None:
    del daemon
    dashboard.wait_for(1)


def starting(daemon: Daemon, dashboard: Dashboard) -> None:
    del dashboard
    daemon.says("Starting Capital Governor")


@pytest.mark.parametrize(
    ("phase", "number"),
    [
        (idle, signal.SIGTERM),
        (idle, signal.SIGINT),
        (fetching, signal.SIGTERM),
        (fetching, signal.SIGINT),
        (first_fetch, signal.SIGTERM),
        (starting, signal.SIGINT),
    ],
)
def test_a_signal_ends_it_in_any_phase(
    root: Path, phase: Callable[[Daemon, Dashboard], None], number: signal.Signals
) -> None:
    """Idle, in a fetch that never ends or while starting, SIGTERM and SIGINT are an exit with 0."""
    first = hang if phase in {first_fetch, starting} else fresh()
    with (
        Dashboard(first) as dashboard,
        Daemon(root, dashboard.url, prelude=PATIENT_END, FETCH_DEADLINE="300") as daemon,
    ):
        phase(daemon, dashboard)
        daemon.end(number)
        lines = daemon.lines()
        assert lines[-1].endswith("Capital Governor stopped")
        assert not any("Traceback" in line for line in lines)
        if first is hang:  # no cycle was completed, so there is nothing to say
            assert not (root / "runtime/capital_governor_status.json").exists()
        else:
            assert daemon.status()["state"] == "ended"
        assert not list((root / "runtime").glob(".*"))


# --- killed, doubled --------------------------------------------------------------------------------------------------


def test_a_killed_governor_is_resumed_by_the_next(root: Path) -> None:
    """After kill -9 the next process takes up state, generation and files, and the journal is one unbroken chain."""
    with Dashboard() as dashboard:
        with Daemon(root, dashboard.url) as daemon:
            daemon.says("No reallocation needed")
            daemon.process.kill()
            assert daemon.process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
            before = daemon.files()
        recorded = len(entries(root))
        with Daemon(root, dashboard.url) as daemon:
            daemon.says("Start: resumed at generation 1")
            daemon.says("No reallocation needed", 2)
            wait_until(lambda: daemon.status()["pid"] == daemon.process.pid)
            assert daemon.files() == before
            assert daemon.status()["generation"] == 1
            daemon.end()
        chain = entries(root)
        assert len(chain) > recorded
        assert [entry.reason for entry in chain[:2]] == [Reason.FIRST_ALLOCATION, Reason.UNCHANGED]
        assert all(after.state == before.after for before, after in itertools.pairwise(chain))


# --- around it --------------------------------------------------------------------------------------------------------


def test_a_dry_run_leaves_everything_else_alone(root: Path) -> None:
    """A dry run beside a live governor works, and every file that it makes or changes is below its own folder."""
    with Dashboard() as dashboard, Daemon(root, dashboard.url, interval=60) as live:
        live.says("Allocations saved")
        wait_until((root / "runtime" / "capital_governor_status.json").exists)
        before = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        with Daemon(root, dashboard.url, "--dry-run", stderr=root.with_name("dry.log")) as dry:
            dry.says("No reallocation needed")
            dry.end()
        after = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        added = after.keys() - before.keys()
        assert all(path.parts[:2] == ("runtime", "dry_run") for path in added)
        assert {path: after[path] for path in before} == before
        assert {path.name for path in added} >= {
            "capital_governor_allocations.json",
            "allocations_override.json",
            "capital_governor_status.json",
        }
        live.end()


def test_the_running_process_has_loaded_nothing_that_it_does_not_use(root: Path) -> None:
    """A governor that has taken cycles has none of the command line's, Telegram's or a server's libraries."""
    heavy = {"telegram", "typer", "click", "rich", "uvicorn", "starlette", "numpy", "pygments"}
    listing = root.with_name("modules.json")
    lists = (
        "import atexit, json, pathlib, sys\n"
        f"atexit.register(lambda: pathlib.Path({str(listing)!r}).write_text(json.dumps(sorted(sys.modules))))\n"
    )
    with Dashboard() as dashboard, Daemon(root, dashboard.url, prelude=lists, interval=0.2) as daemon:
        daemon.says("No reallocation needed", 2)
        daemon.end()
    loaded = {name.partition(".")[0] for name in json.loads(listing.read_text())}
    assert loaded >= {"httpx", "pydantic", "structlog", "tenacity", "sqlite3"}
    assert loaded & heavy == set()
