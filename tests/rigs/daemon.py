"""A real governor: ``capital-governor run`` as a process on a root, and what it leaves there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from capital_governor.journal.protocol import Entry
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from tests.rigs.bot_api import BotApi
from tests.rigs.cycle_rig import footprint
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.preludes import MAIN, PATIENT_FLUSH

FIRST: Final = "🎯 Capital Reallocation:\n"
"""How the message of a move begins."""


class Daemon:
    """``capital_governor run`` on a root, its log in a file beside it, which has the last lines when it has ended.

    Args:
        root: the folder it governs.
        url: of its dashboard.
        arguments: more words of the command.
        interval: seconds from cycle to cycle.
        prelude: lines of Python that go before the program, see ``tests.rigs.preludes``.
        patient: whether the log has the last lines on a busy machine too, which a log must be able to take.
        stderr: the log in another place, or what takes it.
        own: settings by name without the prefix.
    """

    def __init__(
        self,
        root: Path,
        url: str,
        *arguments: str,
        interval: float = 0.5,
        prelude: str = "",
        patient: bool = True,
        stderr: Path | int | None = None,
        **own: str,
    ) -> None:
        self.root = root
        self.log = stderr if isinstance(stderr, Path) else root.with_name(f"{root.name}.log")
        known = ("CAPITAL_GOVERNOR_", "NEOLIGHT_", "TELEGRAM_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(known)}
        environment |= {"NEOLIGHT_DASHBOARD_URL": url, "CAPITAL_GOVERNOR_INTERVAL": str(interval)}
        environment |= {f"CAPITAL_GOVERNOR_{name}": value for name, value in own.items()}
        program = PATIENT_FLUSH * patient + prelude + MAIN
        command = [sys.executable, "-c", program, "run", "--root", str(root), *arguments]
        with self.log.open("ab") as log:
            sink = stderr if isinstance(stderr, int) else log
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=sink)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Kill it, if it has not ended, and wait until it is gone."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def says(self, text: str, times: int = 1) -> None:
        """Wait until the log has had ``text`` so often."""
        wait_until(lambda: self.log.read_text().count(text) >= times)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Signal, and see a clean exit."""
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE_SECONDS) == 0, self.log.read_text()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "runtime" / "capital_governor_status.json").read_bytes())
        return found

    def files(self) -> list[tuple[bytes, int, int] | None]:
        runtime = self.root / "runtime"
        return footprint(runtime / "capital_governor_allocations.json", runtime / "allocations_override.json")


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait between two cycles: of which metronome, since when and until when, in seconds of the monotonic clock."""

    start: float
    now: float
    wake: float


def waits(root: Path) -> list[Wait]:
    """All waits for a beat so far of a governor that records them."""
    book = root.with_name(f"{root.name}.beats")
    lines = book.read_text().splitlines(keepends=True) if book.exists() else []
    return [Wait(*map(float, line.split())) for line in lines if line.endswith("\n")]


@contextmanager
def reading(root: Path) -> Iterator[Store]:
    """The journal of a root, to be looked at only."""
    with closing(open_sqlite(root / "state" / "capital_governor.sqlite3", read_only=True)) as journal:
        yield journal


def entries(root: Path) -> list[Entry]:
    """All cycles that count, oldest first."""
    with reading(root) as journal:
        return list(journal.entries("live"))


def pending(root: Path) -> int:
    """How many messages wait to be sent."""
    with reading(root) as journal:
        return journal.backlog().pending


def moves_told(root: Path) -> tuple[int, list[str]]:
    """How many generations were published, and the text of each as it was put down to be told."""
    with reading(root) as journal:
        rows = journal._db.rows("SELECT text FROM notices WHERE topic = '' ORDER BY id")
        return sum(entry.generation is not None for entry in journal.entries("live")), [text for (text,) in rows]


@contextmanager
def governing(root: Path, url: str, *arguments: str) -> Iterator[Daemon]:
    """A governor that has completed its first cycle, and waits for the next one longer than any test takes."""
    folder = root / "runtime" / "dry_run" if "--dry-run" in arguments else root / "runtime"
    status = folder / "capital_governor_status.json"
    before = status.stat().st_mtime_ns if status.exists() else 0
    with Daemon(root, url, *arguments, interval=3_600) as daemon:
        wait_until(lambda: status.exists() and status.stat().st_mtime_ns != before)
        yield daemon


def configure(root: Path, *apis: BotApi, **more: str) -> None:
    """Write .env, as an operator does."""
    variables = {name: value for api in apis for name, value in api.environment.items()} | more
    (root / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
