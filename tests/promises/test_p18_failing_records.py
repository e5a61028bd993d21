"""P18: a log or a journal that fails stops no cycle; a corrupt journal is set aside and made anew from the files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.journal.protocol import Journal, JournalError
from tests.promises.ledger import Account, require
from tests.rigs import journal_cycles
from tests.rigs.cycle_rig import CycleRig
from tests.rigs.daemon import Daemon, entries
from tests.rigs.dashboard import Dashboard
from tests.rigs.patience import wait_until

CYCLES: Final = 6
LOG_RAISES: Final = """
import sys
from capital_governor.adapters.log_output import Sink
def write(self, text):
    self._put(sys.stderr if self._stream is None else self._stream, self.redact(text) + chr(10))
for name in "write debug info warning warn error critical fatal exception msg log".split():
    setattr(Sink, name, write)
"""


def govern_without_a_log(root: Path, prelude: str = "") -> int:
    """Govern with stderr on a full disk; return the cycles, all of which have to be in the journal."""
    root.mkdir()
    with (
        Dashboard() as dashboard,
        Daemon(root, dashboard.url, interval=0.3, prelude=prelude, stderr=Path("/dev/full")) as daemon,
    ):
        wait_until(lambda: len(dashboard.asked) >= CYCLES or daemon.process.poll() is not None)
        require(daemon.process.poll() is None, f"it ended with {daemon.process.poll()}")
        daemon.end()
        asked, kept = len(dashboard.asked), len(entries(root))
        lost_lines = daemon.status()["log_failures"]
        assert lost_lines > 5, "the log never failed"
    # The last question may have been cut off by the end.
    require(kept in (asked, asked - 1), f"{kept} of {asked} cycles kept")
    return kept


def test_p18_a_log_on_a_full_disk_stops_no_cycle(promise: Account, tmp_path: Path) -> None:
    """With its stderr on a full disk the real process goes on from cycle to cycle, and counts the lost lines."""
    kept = govern_without_a_log(tmp_path / "root")
    promise.figure(f"log on a full disk: cycles kept {kept} of {kept}, 100 %")
    with promise.mutant("a log line that raises"):
        govern_without_a_log(tmp_path / "mutant", LOG_RAISES)


# --- the journal ------------------------------------------------------------------------------------------------------

SCORES: Final = ({"Ada": 0.5, "Bob": 0.3, "Cyd": 0.2}, {"Ada": 0.1, "Bob": 0.3, "Cyd": 0.6})


@contextmanager
def garbage(rig: CycleRig) -> Iterator[None]:
    """Overwrite the database and its log while they are open."""
    for suffix in ("", "-wal", "-shm"):
        path = Path(f"{rig.settings.journal_path}{suffix}")
        if path.exists():
            with path.open("r+b") as file:
                file.write(b"garbage!" * (path.stat().st_size // 8))
    yield


@contextmanager
def locked(rig: CycleRig) -> Iterator[None]:
    """Let another program begin a transaction and not end it."""
    locker = sqlite3.connect(rig.settings.journal_path, isolation_level=None)
    try:
        locker.execute("BEGIN IMMEDIATE")
        yield
    finally:
        locker.close()


def govern_through(root: Path, fault: Callable[[CycleRig], Any], *, restart: bool) -> int:
    """Move to and fro before, during and after a fault of the journal; return the cycles, none of which may fail."""
    root.mkdir()
    generations, kept = [], 0

    def see(rig: CycleRig, number: int) -> int:
        try:
            rig.see(SCORES[number % 2])
        except (JournalError, OSError, sqlite3.Error):
            return 0
        generations.append(json.loads(rig.primary.read_bytes())["generation"])
        return 1

    with CycleRig(root) as rig:
        numbers = iter(range(3 * CYCLES))
        kept += sum(see(rig, next(numbers)) for _ in range(CYCLES))
        with fault(rig):
            kept += sum(see(rig, next(numbers)) for _ in range(CYCLES))
        if restart:
            try:
                rig.restart()
            except JournalError as error:
                require(kept=False, found=f"it does not start again: {error}")
        kept += sum(see(rig, next(numbers)) for _ in range(CYCLES))
        require(kept == 3 * CYCLES, f"{kept} of {3 * CYCLES} cycles kept")
        require(generations == list(range(1, 3 * CYCLES + 1)), f"moves were lost: generations {generations}")
        require(not rig.journal.lost, "the journal is still lost")
        head = rig.journal.head("live")
        require(
            head is not None and head.state.generation == 3 * CYCLES, "the journal does not know the last generation"
        )
        assert rig.told, "the fault was never met"
    return kept


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("fault", [garbage, locked])
def test_p18_a_failing_journal_stops_no_cycle(
    promise: Account,
    quick_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[CycleRig], Any],
    restart: bool,
) -> None:
    """Garbage in the open database, or a lock that stays: each cycle publishes, and afterwards the journal is whole."""
    name = f"{fault.__name__}{' and a restart' if restart else ''}"
    kept = govern_through(quick_folder / f"journal {name}", fault, restart=restart)
    aside = len(list((quick_folder / f"journal {name}").rglob("*corrupt*")))
    promise.figure(f"journal {name}: cycles kept {kept} of {kept}, {aside} set aside")

    class Bare:
        """The durable journal alone, as if nothing could take over."""

        def __new__(cls, opening: Callable[[], Journal], **_: object) -> Any:
            return opening()

    with monkeypatch.context() as patch, promise.mutant(f"no journal in memory, {name}"):
        patch.setattr(journal_cycles, "ResilientJournal", Bare)
        govern_through(quick_folder / f"mutant {name}", fault, restart=restart)
