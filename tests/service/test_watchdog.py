"""Signs of life and the end of a real process: what hangs delays no cycle, and no phase is deaf to a signal."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.rigs.commands import start
from tests.rigs.daemon import Daemon, configure
from tests.rigs.dashboard import DOWN, Dashboard
from tests.rigs.patience import wait_until
from tests.rigs.preludes import DISK_HANGS, IMPATIENT_JOURNAL, LOOKUP_HANGS, PATIENT_END
from tests.rigs.raw_server import Server, answer, hang, http
from tests.rigs.service_manager import listening

KEY: Final = "CANARY-0123456789abcdef"


# --- systemd ----------------------------------------------------------------------------------------------------------


@contextmanager
def service_manager(monkeypatch: pytest.MonkeyPatch, place: Path) -> Iterator[Callable[[], list[str]]]:
    """Start as systemd does what is started in this block; what is given returns all messages so far."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(place))
    with listening(place) as messages:
        yield messages


def test_systemd_hears_of_start_each_completed_cycle_and_end(
    root: Path, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready first, then a sign of life with the standing for each cycle, holds included, then the end."""
    with service_manager(monkeypatch, root.with_name("notify")) as messages:
        with Daemon(root, dashboard.url, interval=0.2) as daemon:
            wait_until(lambda: len(messages()) >= 3)
            dashboard.next(DOWN)
            wait_until(lambda: any("not fetched" in text for text in messages()))
            daemon.end()
        ready, *lives, stopping = messages()
    assert (ready, stopping) == ("READY=1", "STOPPING=1")
    assert lives[0] == "WATCHDOG=1\nSTATUS=generation 1: Reallocation triggered (first allocation)"
    assert lives[-1] == "WATCHDOG=1\nSTATUS=generation 1: Meta-metrics not fetched - maintaining current allocations"
    with closing(sqlite3.connect(root / "state" / "capital_governor.sqlite3")) as db:
        ((cycles,),) = db.execute("SELECT count(*) FROM cycles").fetchall()
    assert cycles - len(lives) in {0, 1}  # the last one may have been given up right after its commit


def test_a_service_manager_that_reads_nothing_stops_no_cycle(
    root: Path, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the socket's queue full, cycles go on, and the log says so once."""
    with service_manager(monkeypatch, root.with_name("notify")), Daemon(root, dashboard.url, interval=0.05) as daemon:
        limit = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
        daemon.says("systemd cannot be notified", 1)
        asked = len(dashboard.asked)
        assert asked >= min(limit, 10)
        dashboard.wait_for(asked + 10)
        daemon.end()
        assert sum("systemd cannot be notified" in line for line in daemon.lines()) == 1


def test_a_watchdog_that_is_too_quick_is_named(
    root: Path, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With less than two intervals the watchdog would kill a healthy governor, so the log says what to set."""
    for number, (seconds, warns) in enumerate(((1, True), (100, False))):
        monkeypatch.setenv("WATCHDOG_USEC", str(seconds * 1_000_000))
        with Daemon(root, dashboard.url, interval=30, stderr=root.with_name(f"{number}.log")) as daemon:
            daemon.says("Start: ")
            daemon.end()
            assert ("set WatchdogSec to several intervals" in daemon.log.read_text()) == warns


# --- the heartbeat ----------------------------------------------------------------------------------------------------


def test_each_completed_cycle_beats_once_and_holds_do_too(root: Path, dashboard: Dashboard) -> None:
    """Each cycle asks the dead man's switch once, unless it is being asked, also while the dashboard is down."""
    with Server(answer(http(b""))) as switch:
        configure(root, CAPITAL_GOVERNOR_HEARTBEAT_URL=f"{switch.url}/{KEY}")
        with Daemon(root, dashboard.url, interval=0.2, prelude=BEATS_COUNTED) as daemon:
            dashboard.wait_for(3)
            dashboard.next(DOWN)
            wait_until(lambda: daemon.status()["failures_in_row"] >= 3)
            daemon.end()
            beats = daemon.log.read_text().count("FAULT beat")
        with closing(sqlite3.connect(root / "state" / "capital_governor.sqlite3")) as db:
            ((cycles,),) = db.execute("SELECT count(*) FROM cycles").fetchall()
        assert cycles - beats in {0, 1}
        assert 1 <= switch.connections <= beats  # where a GET takes longer than an interval, the next beat is left out
        *asked, last = switch.heads  # the end of the process may have cut off the last one
        assert all(head.startswith(f"GET /{KEY} HTTP/1.1".encode()) for head in asked + [last] * bool(last))


def test_a_failing_heartbeat_is_shown_and_its_url_nowhere(root: Path, dashboard: Dashboard) -> None:
    """Failures are in log and status file while the shares go on, and no byte that is written has the URL's key."""
    with Server(answer(http(b"", status=f"500 {KEY}"))) as switch:
        configure(root, CAPITAL_GOVERNOR_HEARTBEAT_URL=f"{switch.url}/{KEY}")
        with Daemon(root, dashboard.url, interval=0.1, LOG_LEVEL="DEBUG") as daemon:
            wait_until((root / "runtime/capital_governor_status.json").exists)
            wait_until(lambda: daemon.status()["heartbeat_failures"] >= 3)
            assert daemon.status()["heartbeat_problem"] == "HTTP 500"
            shown = start(root, "status", url=dashboard.url).out
            assert re.search(r"^heartbeat +HTTP 500, \d+ failed so far$", shown, re.MULTILINE)
            daemon.end()
    assert sum("Heartbeat failed: HTTP 500" in line for line in daemon.lines()) == 1
    written = [path for path in (*root.rglob("*"), daemon.log) if path.is_file() and path.name != ".env"]
    assert KEY not in "".join(path.read_bytes().decode("latin-1") for path in written)


def test_a_single_cycle_beats_before_it_ends(root: Path, dashboard: Dashboard) -> None:
    """``once``, which a timer may run, gives its sign of life too, also for a hold; its dry run does not."""
    with Server(answer(http(b""))) as switch:
        configure(root, CAPITAL_GOVERNOR_HEARTBEAT_URL=f"{switch.url}/{KEY}")
        assert start(root, "once", url=dashboard.url).code == 0
        dashboard.next(DOWN)
        assert start(root, "once", url=dashboard.url).code == 75
        assert start(root, "once", "--dry-run", url=dashboard.url).code == 75
        assert len(switch.heads) == 2


def test_a_dry_run_and_a_broken_cycle_do_not_beat(root: Path, dashboard: Dashboard) -> None:
    """A dry run is no governor, and a cycle that an unexpected error ended is no sign of life."""
    broken = (
        "from capital_governor.service import cycle\ndef parse(_):\n    raise ValueError('no')\ncycle.parse = parse\n"
    )
    with Server(answer(http(b""))) as switch:
        configure(root, CAPITAL_GOVERNOR_HEARTBEAT_URL=f"{switch.url}/{KEY}")
        with Daemon(root, dashboard.url, "--dry-run", interval=0.1) as daemon:
            daemon.says("No reallocation needed", 2)
            daemon.end()
        with Daemon(root, dashboard.url, interval=0.1, prelude=broken) as daemon:
            daemon.says("Unexpected error - maintaining", 3)
            daemon.end()
        assert switch.connections == 0


# --- what hangs -------------------------------------------------------------------------------------------------------

BEATS_COUNTED: Final = """
import sys
from capital_governor.adapters.heartbeat import Heartbeat
real = Heartbeat.beat
def beat(self):
    print("FAULT beat", file=sys.stderr, flush=True)
    real(self)
Heartbeat.beat = beat
"""
PATIENT_HEARTBEAT: Final = """
from capital_governor.adapters.heartbeat import Heartbeat
Heartbeat.__init__.__kwdefaults__["deadline_seconds"] = 1e6
"""


def ends_well(daemon: Daemon, state: str = "ended") -> None:
    """SIGTERM is an exit with 0 while whatever hangs goes on, with nothing said that is no log line."""
    daemon.end()
    lines = [line for line in daemon.lines() if not line.startswith("FAULT")]
    assert lines[-1].endswith("Capital Governor stopped")
    assert all("[capital_governor]" in line for line in lines)
    assert "Traceback" not in daemon.log.read_text()
    if state:
        assert daemon.status()["state"] == state


def test_a_hung_look_up_of_others_delays_no_cycle(root: Path, dashboard: Dashboard) -> None:
    """While the names of Telegram and the heartbeat hang in the C library for good, cycles go on."""
    bot = {"TELEGRAM_BOT_TOKEN": "123456789:" + "x" * 35, "TELEGRAM_CHAT_ID": "1"}
    configure(
        root,
        TELEGRAM_API_BASE_URL="http://hangs.invalid/bot",
        CAPITAL_GOVERNOR_HEARTBEAT_URL="http://hangs-too.invalid/",
        **bot,
    )
    with Daemon(root, dashboard.url, interval=0.3, prelude=LOOKUP_HANGS + PATIENT_END) as daemon:
        daemon.says("FAULT look-up", 2)
        asked = len(dashboard.asked)
        dashboard.wait_for(asked + 12)
        ends_well(daemon)


def test_a_hung_look_up_of_the_dashboard_costs_its_deadline_and_no_more(root: Path) -> None:
    """A dashboard whose name hangs is a hold each time its deadline is over; the look-up takes one thread in all."""
    url = "http://hangs.invalid:8100"
    with Daemon(root, url, interval=0.3, prelude=LOOKUP_HANGS + PATIENT_END, FETCH_DEADLINE="0.2") as daemon:
        wait_until((root / "runtime/capital_governor_status.json").exists)
        wait_until(lambda: daemon.status()["failures_in_row"] >= 12)
        assert daemon.status()["reason"] == "fetch_failed"
        ends_well(daemon)
        assert daemon.log.read_text().count("FAULT look-up") == 1


def test_a_hung_heartbeat_delays_no_cycle(root: Path, dashboard: Dashboard) -> None:
    """While the dead man's switch never answers, cycles go on and it is asked once at a time."""
    with Server(hang) as switch:
        configure(root, CAPITAL_GOVERNOR_HEARTBEAT_URL=switch.url)
        with Daemon(root, dashboard.url, interval=0.3, prelude=PATIENT_HEARTBEAT + PATIENT_END) as daemon:
            wait_until(lambda: switch.connections)
            asked = len(dashboard.asked)
            dashboard.wait_for(asked + 8)
            assert (switch.connections, switch.gave_up) == (1, 0)
            ends_well(daemon)


def test_a_hung_disk_holds_the_cycle_but_not_the_end_nor_the_lock(root: Path, dashboard: Dashboard) -> None:
    """Nothing waits for a cycle that hangs in fsync: no sign of life, the end all the same, the next one starts."""
    with Server(answer(http(b""))) as switch:
        configure(root, CAPITAL_GOVERNOR_HEARTBEAT_URL=switch.url)
        with Daemon(root, dashboard.url, interval=0.2, prelude=DISK_HANGS) as daemon:
            daemon.says("No reallocation needed", 2)
            (root / "hang").touch()
            (root / "runtime" / "allocations_override.json").unlink()  # to be repaired, which takes an fsync
            daemon.says("FAULT disk")
            beats = switch.connections
            time.sleep(1.0)  # five intervals in which nothing may be completed
            assert switch.connections <= beats + 1  # the beat of the cycle before may have been on its way
            ends_well(daemon, state="")
        (root / "hang").unlink()
        with Daemon(
            root, dashboard.url, interval=0.2, prelude=PATIENT_END, stderr=root.with_name("next.log")
        ) as daemon:
            daemon.says("Start: resumed at generation 1")
            wait_until((root / "runtime" / "allocations_override.json").exists)
            daemon.says("No reallocation needed")
            ends_well(daemon)


def test_a_locked_journal_is_a_cycle_from_memory_and_ends_when_told(root: Path, dashboard: Dashboard) -> None:
    """While another program locks the database, cycles go on at the pace of its waits, and SIGTERM is heard."""
    with Daemon(root, dashboard.url, interval=0.2, prelude=IMPATIENT_JOURNAL) as daemon:
        daemon.says("No reallocation needed")
        with closing(sqlite3.connect(root / "state" / "capital_governor.sqlite3", timeout=5)) as other:
            other.execute("BEGIN IMMEDIATE")
            daemon.says("Journal cannot be written, memory takes over")
            asked = len(dashboard.asked)
            dashboard.wait_for(asked + 2)
            daemon.end()
            other.rollback()
