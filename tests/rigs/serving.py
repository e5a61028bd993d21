"""What tests serve a governor with: a dashboard on loopback whose every answer is scripted, and a root of its own.

A dashboard takes any script of ``tests.rigs.raw_server`` as well as those made here, so it can be as broken as a raw
socket allows:

    with Dashboard(fresh()) as dashboard:        # every question gets a payload stamped when it was asked
        dashboard.next(answer(http(b"[]")))      # from the next question on
        dashboard.wait_for(3)                    # until it has been asked three times in all
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from capital_governor.core.model import Refusal, Snapshot
from capital_governor.journal.fallback import ResilientJournal
from capital_governor.journal.protocol import Entry
from capital_governor.journal.sqlite.file import set_aside
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite
from capital_governor.service.cycle import PAUSE_FILE, STOP_FILE, Cycle
from capital_governor.service.event_log import EventLog
from capital_governor.service.standing import Outcome
from capital_governor.settings.load import Settings, load
from capital_governor.wording.log_events import Line
from tests.rigs.builders import FLEET as SCORES
from tests.rigs.builders import INTERVAL, NOW, snapshot
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.raw_server import Connection, Script, Server, http

Record = dict[str, Any]

PLAIN_ENVIRONMENT: Final = {
    "CAPITAL_GOVERNOR_PNL_WEIGHT": "0",
    "CAPITAL_GOVERNOR_SHARPE_WEIGHT": "0",
    "CAPITAL_GOVERNOR_WINRATE_WEIGHT": "1",
    "CAPITAL_GOVERNOR_DRAWDOWN_WEIGHT": "0",
}
"""An agent's score is its win rate, so that numbers can be computed by hand."""


# --- payloads ---------------------------------------------------------------------------------------------------------


def record(pnl: float = 850.0, sharpe: float = 1.234, winrate: float = 0.65, drawdown: float = 2.5) -> Record:
    """One agent's record as the producer sends it, fields that nobody scores included."""
    return {
        "pnl_1d": 125.5,
        "pnl_7d": pnl,
        "sharpe_30d": sharpe,
        "winrate_30d": winrate,
        "max_dd_30d": drawdown,
        "total_decisions": 45,
        "revenue_24h": 0.0,
    }


FLEET: Final[Mapping[str, Record]] = {
    "SmartTrader": record(),
    "DropshipAgent": record(pnl=350.0, sharpe=0.85, winrate=0.72, drawdown=1.2),
    "RangeTrader": record(pnl=4_200.0, sharpe=2.1, winrate=0.58, drawdown=6.0),
    "ScoutBot": record(pnl=-120.0, sharpe=0.3, winrate=0.41, drawdown=11.0),
}
"""Four agents of which none scores like another."""


def payload(
    agents: Mapping[str, Any] = FLEET,
    *,
    at: float | None = None,
    risk: float = 1.0,
    drawdown: float = 0.0,
    paused: bool = False,
    said: str = "Normal operation",
) -> dict[str, Any]:
    """A complete payload. ``at`` is in seconds since 1970 UTC, None is now; ``said`` is the guardian's reason."""
    stamp = datetime.fromtimestamp(time.time() if at is None else at, UTC).isoformat()
    return {
        "timestamp": stamp,
        "cache_timestamp": "2025-11-03T22:00:01.123456",
        "per_agent": dict(agents),
        "per_strategy": {"pairs_trading": {"pnl_7d": 0.0, "sharpe_30d": 1.8, "score": 1.048}},
        "guardian": {"is_paused": paused, "drawdown": drawdown, "reason": said},
        "breakers": {"quote_state": "CLOSED", "trade_state": "CLOSED"},
        "mode": "TEST_MODE",
        "market_regime": {"regime": "SIDEWAYS", "risk_multiplier": risk, "timestamp": stamp},
        "summary": {"total_agents": len(agents)},
    }


# --- answers ----------------------------------------------------------------------------------------------------------


def fixed(document: object, *headers: str, status: str = "200 OK") -> Script:
    """Answer this document each time; bytes are sent as they are, all else as JSON."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(http(body, *headers, status=status))

    return script


def fresh(
    agents: Mapping[str, Any] = FLEET,
    *,
    change: Callable[[dict[str, Any]], object] | None = None,
    delay_seconds: float = 0.0,
    **more: Any,
) -> Script:
    """Answer a payload stamped when it is asked for; ``change`` spoils it, ``delay_seconds`` makes it slow."""

    def script(connection: Connection) -> None:
        connection.stop.wait(delay_seconds)
        document = payload(agents, **more)
        if change is not None:
            change(document)
        fixed(document)(connection)

    return script


class _Heard(Connection):
    """A connection whose head has been read to see what is asked; scripts may ask to read it again."""

    def read_head(self) -> None:
        """Nothing is left to read."""


class Dashboard(Server):
    """Answers ``/status`` with 200, and ``/meta/metrics`` by its scripts: one each, the last one for ever.

    Attributes:
        asked: the monotonic time, in seconds, of each question for metrics.
    """

    def __init__(self, *scripts: Script, port: int = 0) -> None:
        super().__init__(self._serve, port=port)
        self.asked: list[float] = []
        self._queue: deque[Script] = deque(scripts or (fresh(),))

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def next(self, *scripts: Script) -> None:
        """Forget what was to come, and answer with these from the next question on."""
        self._queue = deque(scripts)

    def wait_for(self, questions: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until metrics have been asked for so many times in all."""
        wait_until(lambda: len(self.asked) >= questions, seconds)

    def _serve(self, connection: Connection) -> None:
        connection.read_head()
        if b" /meta/metrics " not in self.heads[-1].partition(b"\r\n")[0]:
            connection.send(http(b"{}"))
            return
        self.asked.append(time.monotonic())
        script = self._queue.popleft() if len(self._queue) > 1 else self._queue[0]
        script(_Heard(connection.sock, self))


# --- a governor without its loop --------------------------------------------------------------------------------------


def settings_of(root: Path, **own: object) -> Settings:
    """Settings for a root: the defaults under PLAIN_ENVIRONMENT, and ``own`` by name without the prefix."""
    environment = {f"CAPITAL_GOVERNOR_{name}": str(value) for name, value in own.items()}
    return load(root, PLAIN_ENVIRONMENT | environment)


class Rig:
    """A governor's cycle on a real root with a real journal, and a clock that only the test moves.

    Attributes:
        now: seconds since 1970 UTC; each ``cycle`` ends by moving it on by one interval.
        lines: what the log was told, over all restarts.
        told: what the journal said about being lost and restored.
        found: what the last start found.
    """

    def __init__(self, root: Path, *, now: float = NOW, dry_run: bool = False, **own: object) -> None:
        self.root = root
        self.settings = settings_of(root, **own)
        self.now = now
        self.lines: list[Line] = []
        self.told: list[object] = []
        self._dry_run = dry_run
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()

    @property
    def primary(self) -> Path:
        return self.governor.paths.primary

    @property
    def override(self) -> Path:
        return self.governor.paths.override

    @property
    def stop_file(self) -> Path:
        return self.root / STOP_FILE

    @property
    def pause_file(self) -> Path:
        return self.root / PAUSE_FILE

    def cycle(self, said: Snapshot | Refusal) -> Outcome:
        """Conclude one cycle on this payload."""
        outcome = self.governor.conclude(said)
        self.report.cycle(outcome)
        self.now += INTERVAL
        return outcome

    def see(self, scores: Mapping[str, float] = SCORES, **more: Any) -> Outcome:
        """Conclude one cycle on a fresh payload in which the agents score this."""
        return self.cycle(snapshot(scores, **({"at": self.now} | more)))

    def texts(self, level: str = "") -> list[str]:
        """What the log was told, on this level or on all."""
        return [line.text for line in self.lines if level in ("", line.level)]

    def restart(self) -> None:
        """End without a word, as a kill would, and start again."""
        self.journal.close()
        self._begin()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.governor.paths.status.read_bytes())
        return found

    def entries(self) -> list[Entry]:
        return list(self.journal.entries(Cycle.book))

    def _begin(self) -> None:
        path = self.settings.journal_path
        self.journal = ResilientJournal(
            lambda: open_sqlite(path, busy_seconds=0.2),
            memory=in_memory(),
            set_aside=lambda: set_aside(path, self.now),
            on_lost=self.told.append,
            on_restored=self.told.append,
        )
        self.governor = Cycle(self.settings, self.journal, dry_run=self._dry_run, clock=lambda: self.now)
        self.report = EventLog(self.lines.append, self.settings.rules())
        self.found = self.governor.recover()


def footprint(*paths: Path) -> list[tuple[bytes, int, int] | None]:
    """What shows any write to these files: content, modification time in ns and inode; None where there is no file."""
    return [
        (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) if path.exists() else None for path in paths
    ]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep everybody else from writing this journal."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


DOWN: Final = fixed(b"", status="401 Unauthorized")
"""A failure that is not tried again within its cycle."""


def moving() -> Script:
    """A dashboard whose every payload is worth a move, and no two alike."""
    dice, asked = random.Random(7), [0]  # noqa: S311 - weather, not secrets

    def change(said: dict[str, Any]) -> None:
        asked[0] += 1
        strong = asked[0] % 2
        for number, agent in enumerate(FLEET):
            rate = (0.9 if number % 2 == strong else 0.1) - 0.08 * dice.random()
            said["per_agent"][agent] = record(pnl=10_000 * rate, sharpe=3 * rate, winrate=rate)

    return fresh(change=change)
