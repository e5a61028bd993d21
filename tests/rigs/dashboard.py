"""A dashboard on loopback whose every answer is scripted, and the payloads that it answers.

A dashboard takes any script of ``tests.rigs.raw_server`` as well as those made here, so it can be as broken as a raw
socket allows:

    with Dashboard(fresh()) as dashboard:        # every question gets a payload stamped when it was asked
        dashboard.next(answer(http(b"[]")))      # from the next question on
        dashboard.wait_for(3)                    # until it has been asked three times in all
"""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self

from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.raw_server import Connection, Script, Server, http

Record = dict[str, Any]


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
