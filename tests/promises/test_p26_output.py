"""P26: whoever reads the log, or does not, the governor keeps its cycles and hears its signals."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.promises.ledger import Account, require
from tests.rigs.daemon import Daemon
from tests.rigs.dashboard import Dashboard, fixed, payload, record
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.raw_server import Connection

CYCLES: Final = 12
"""With a line for each faulty agent, far more lines than may wait in memory and on the way to the reader."""
STANDSTILL_CYCLES: Final = 60
"""A mutant stands still if it does nothing while another governor takes so many cycles."""
LINE: Final = re.compile(r"\S+Z (\x1b\[\d+m)?[A-Z]+(\x1b\[0m)? +\[capital_governor\] .+")

WRITTEN_ON_THE_LOOP: Final = """
from capital_governor.adapters.log_output import Sink
Sink.write_in_background = lambda self, former=None: None
"""
UNBOUNDED: Final = """
from capital_governor.adapters import line_writer
line_writer.MOST_LINES = line_writer.MOST_BYTES = 1 << 60
"""
NOT_COUNTED: Final = """
from capital_governor.adapters.line_writer import LineWriter
LineWriter._lose = lambda *_: None
"""
NOT_SAID: Final = """
from capital_governor.adapters.line_writer import LineWriter
def append_lost_line(self):
    self._unsaid = 0
LineWriter._append_lost_line = append_lost_line
"""
WAITS_AT_THE_END: Final = """
from capital_governor.adapters.line_writer import LineWriter
flush = LineWriter.flush
LineWriter.flush = lambda self, seconds=0: flush(self, 3600)
"""


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many agents there are, and how many of them are faulty in every second cycle, a line in the log each."""

    agents: int
    faulty: int

    def flapping(self) -> Callable[[Connection], None]:
        """Answer for this fleet."""
        names = [f"Agent{number:03}" for number in range(self.agents)]
        healthy = dict.fromkeys(names, record())
        sick = healthy | dict.fromkeys(names[: self.faulty], record(winrate=65.0))
        questions = iter(range(1 << 30))

        def script(connection: Connection) -> None:
            fixed(payload(sick if next(questions) % 2 else healthy))(connection)

        return script


LARGE: Final = Fleet(800, 350)
SMALL: Final = Fleet(80, 35)
FEW_LINES: Final = """
from capital_governor.adapters import line_writer
line_writer.MOST_LINES = 200
"""
"""So few lines may wait that a small fleet, which is soon governed, has far more."""

GiveUp = Callable[[], bool]
"""Whether what is waited for will not come any more."""


def patiently() -> GiveUp:
    """Give up only what hangs."""
    end = time.monotonic() + PATIENCE_SECONDS
    return lambda: time.monotonic() > end


def while_others_govern(dashboard: Dashboard) -> Callable[[], GiveUp]:
    """Give up what does not come while the governor of this dashboard takes STANDSTILL_CYCLES."""

    def begin() -> GiveUp:
        enough = len(dashboard.asked) + STANDSTILL_CYCLES
        return lambda: len(dashboard.asked) >= enough

    return begin


@dataclass(slots=True)
class Reader:
    """What reads a governor's standard error, ``stderr``, while it is ``read``; it begins by reading nothing."""

    stderr: int
    read: Callable[[], bytes]
    resume: Callable[[], object] = lambda: None
    stall: Callable[[], object] = lambda: None
    started: Callable[[int], object] = lambda _: None
    text: bytes = b""
    _wanted: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Read while the block lasts."""
        self._wanted.set()
        self.resume()
        thread = threading.Thread(target=self._read, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.stall()
            self._wanted.clear()
            thread.join(PATIENCE_SECONDS)

    def _read(self) -> None:
        while self._wanted.is_set():
            with contextlib.suppress(BlockingIOError):
                self.text += self.read()
            time.sleep(0.001)


@contextlib.contextmanager
def pipe(_: Path) -> Iterator[Reader]:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(reading, False)
    try:
        yield Reader(writing, lambda: os.read(reading, 1 << 16))
    finally:
        os.close(reading)
        os.close(writing)


@contextlib.contextmanager
def journal_socket(_: Path) -> Iterator[Reader]:
    """A stream socket, as journald gives to a service, whose other end hangs."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.setblocking(False)
        yield Reader(theirs.fileno(), lambda: ours.recv(1 << 16))


@contextlib.contextmanager
def terminal(_: Path) -> Iterator[Reader]:
    """A terminal whose output was stopped, as by Ctrl-S."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    termios.tcflow(slave, termios.TCOOFF)
    try:
        yield Reader(
            slave,
            lambda: os.read(master, 1 << 16),
            resume=lambda: termios.tcflow(slave, termios.TCOON),
            stall=lambda: termios.tcflow(slave, termios.TCOOFF),
        )
    finally:
        os.close(slave)
        os.close(master)


@contextlib.contextmanager
def log_shipper(folder: Path) -> Iterator[Reader]:
    """Another program that copies the log somewhere, and was stopped."""
    copy = folder / "copy"
    with copy.open("wb") as target:
        shipper = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=target)
    assert shipper.stdin is not None
    shipper.send_signal(signal.SIGSTOP)
    done = 0

    def read() -> bytes:
        nonlocal done
        found = copy.read_bytes()[done:]
        done += len(found)
        return found

    try:
        yield Reader(
            shipper.stdin.fileno(),
            read,
            resume=lambda: shipper.send_signal(signal.SIGCONT),
            stall=lambda: shipper.send_signal(signal.SIGSTOP),
        )
    finally:
        shipper.kill()
        shipper.stdin.close()
        shipper.wait(PATIENCE_SECONDS)


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[Reader]:
    """A file that may grow no further, as on a full disk, until there is room."""
    path, limit, pids = folder / "log", 64 << 20, list[int]()
    with path.open("ab") as log:
        log.truncate(limit - 1_000)  # without taking any room; all other files stay far below

        def allow(size: int) -> None:
            for pid in pids:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        def started(pid: int) -> None:
            pids.append(pid)
            allow(limit)

        done = limit - 1_000

        def read() -> bytes:
            nonlocal done
            with path.open("rb") as file:
                file.seek(done)
                found = file.read()
            done += len(found)
            return found

        yield Reader(
            log.fileno(),
            read,
            resume=lambda: allow(resource.RLIM_INFINITY),
            stall=lambda: allow(path.stat().st_size),
            started=started,
        )


READERS: Final[dict[str, Callable[[Path], contextlib.AbstractContextManager[Reader]]]] = {
    "pipe nobody reads": pipe,
    "stopped terminal": terminal,
    "stopped log shipper": log_shipper,
    "hung journal socket": journal_socket,
    "full disk": full_disk,
}


@dataclass(frozen=True, slots=True)
class Kept:
    """What a governor did without a reader."""

    cycles: int
    lost: int
    end_seconds: float


def govern(
    folder: Path,
    kind: str,
    prelude: str = "",
    *,
    fleet: Fleet = LARGE,
    giving_up: Callable[[], GiveUp] = patiently,
) -> Kept:
    """Govern while nobody reads, then with a reader, then without one until SIGTERM.

    ``giving_up`` begins a wait for what a mutant may never do, and says whether to give that up.
    """
    root = folder / "root"
    root.mkdir(parents=True)
    with READERS[kind](folder) as reader, Dashboard(fleet.flapping()) as dashboard:
        # Without PATIENT_FLUSH: there is nobody to take the last lines.
        governor = Daemon(root, dashboard.url, interval=0.1, prelude=prelude, stderr=reader.stderr, patient=False)
        with governor as daemon:
            process = daemon.process
            reader.started(process.pid)
            dashboard.wait_for(1)
            await_cycles(process, dashboard, giving_up)
            require(lost(root) > 0, f"of {CYCLES * fleet.faulty} lines and more none is counted as lost")
            with reader.reading():
                later = f"{datetime.now(UTC) + timedelta(seconds=2):%Y-%m-%dT%H:%M:%SZ}"
                # What was lost before is said before any later line.
                wait_for(lambda: b" lost: " in reader.text or newest(reader.text) > later, patiently())
            require(b" lost: " in reader.text, "it does not say how many lines were lost")
            require_whole_lines(reader.text.decode(), torn=int(kind == "full disk"))
            await_cycles(process, dashboard, giving_up)
            sent = time.monotonic()
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: process.poll() is not None, giving_up())
            seconds = time.monotonic() - sent
            require(process.poll() == 0, f"long after SIGTERM its exit code is {process.poll()}")
        asked = len(dashboard.asked)
    with closing(sqlite3.connect(root / "state" / "capital_governor.sqlite3")) as db:
        ((kept,),) = db.execute("SELECT count(*) FROM cycles").fetchall()
    # The last question may have been cut off by the end.
    require(kept in (asked, asked - 1), f"{kept} of {asked} cycles kept")
    return Kept(kept, lost(root), seconds)


def wait_for(condition: Callable[[], object], gives_up: GiveUp) -> None:
    """Wait until it holds or will not any more: the caller judges."""
    while not condition() and not gives_up():
        time.sleep(0.01)


def await_cycles(process: subprocess.Popen[bytes], dashboard: Dashboard, giving_up: Callable[[], GiveUp]) -> None:
    """See so many cycles more; each but the last is in the status file by then."""

    def come_or_ended(count: int) -> bool:
        return len(dashboard.asked) >= count or process.poll() is not None

    before = len(dashboard.asked)
    for come in range(CYCLES):
        wait_for(partial(come_or_ended, before + come + 1), giving_up())
        require(process.poll() is None, f"it ended with {process.poll()}")
        require(len(dashboard.asked) > before + come, f"cycles stand still: {CYCLES - come} of {CYCLES} to come")


def newest(text: bytes) -> str:
    """The time of the newest whole line, as it stands there; "" for none."""
    times = re.findall(r"^(\S+Z) [A-Z]+ +\[capital_governor\].*\n", text.decode(errors="replace"), re.MULTILINE)
    return max(times, default="")


def lost(root: Path) -> int:
    """How many lines the status file counts."""
    counted: int = json.loads((root / "runtime" / "capital_governor_status.json").read_bytes())["log_failures"]
    return counted


def require_whole_lines(text: str, *, torn: int) -> None:
    """All lines but the last, which may be on its way, are whole and in the order of their times."""
    lines = [line.removesuffix("\r") for line in text.split("\n")][:-1]
    broken = [line for line in lines if not LINE.fullmatch(line)]
    require(len(broken) <= torn, f"{len(broken)} lines are not whole, the first: {broken[:1]}")
    stamps = [line[:20] for line in lines if line not in broken]
    require(stamps == sorted(stamps), "lines are not in order")


@pytest.mark.parametrize("kind", READERS)
def test_p26_no_reader_stops_a_cycle_or_a_signal(promise: Account, tmp_path: Path, kind: str) -> None:
    """With a log that cannot be written each cycle is done, losses are counted and said, and SIGTERM is heard."""
    kept = govern(tmp_path / "kept", kind)
    promise.figure(
        f"{kind}: cycles kept {kept.cycles} of {kept.cycles}, 100 %, {kept.lost:,} lines lost and counted, ended"
        f" {kept.end_seconds:.2f} s after SIGTERM"
    )


def test_p26_mutants(promise: Account, tmp_path: Path) -> None:
    """What would make a reader stop it, or lose lines without a word, is noticed."""
    mutants = {
        "written on the event loop": (WRITTEN_ON_THE_LOOP, "cycles stand still"),
        "no limit to what waits": (UNBOUNDED, "none is counted as lost"),
        "lost lines not counted": (NOT_COUNTED, "none is counted as lost"),
        "lost lines not said": (NOT_SAID, "it does not say how many lines were lost"),
        "waits for its reader at the end": (WAITS_AT_THE_END, "long after SIGTERM"),
    }
    (tmp_path / "other").mkdir()
    with (
        Dashboard() as other,
        Daemon(tmp_path / "other", other.url, interval=0.05),
        ThreadPoolExecutor(2) as pool,
    ):
        ends = {
            name: pool.submit(
                govern,
                tmp_path / name,
                "pipe nobody reads",
                FEW_LINES + prelude,
                fleet=SMALL,
                giving_up=while_others_govern(other),
            )
            for name, (prelude, _) in mutants.items()
        }
        for name, end in ends.items():
            with promise.mutant(name, mutants[name][1]):
                end.result()
