"""The soak's dashboard: a seeded fleet whose results wander, behind a server that can be down, slow or lying.

Run as ``python -m tests.soak.fleet SEED``. Orders: ``url``; ``down`` and ``up``; a word of ``MODES`` says how questions
are answered from now on; ``swing`` turns the ranking of the agents around, so that a move is due.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from tests.adapters.hostile import Connection, Script, repeat
from tests.serving import Dashboard, Record, fixed, payload, record
from tests.soak.station import Station, obey

AGENTS: Final = ("Arbiter", "CryptoTrend", "DropshipAgent", "NewsScalper", "PairsBot", "RangeTrader", "Scout", "Smart")
STALE_SECONDS: Final = 7_200.0
REGIME_SECONDS: Final = 50.0
RISKS: Final = (1.2, 0.8, 0.6, 0.5, 0.8)


class Fleet:
    """Levels of eight agents that wander in 0.02..0.98, one step a second; a pure function of seed and seconds."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - weather, not secrets
        self._levels = [0.1 + 0.8 * self._dice.random() for _ in AGENTS]
        self._step = 0
        self.turned = False

    def at(self, seconds: float) -> tuple[dict[str, Record], float]:
        """Return the agents' records, and the risk multiplier, so many seconds after the beginning."""
        while self._step < seconds:
            self._step += 1
            self._levels = [
                min(0.98, max(0.02, level + 0.01 * (0.5 - level) + self._dice.gauss(0, 0.03))) for level in self._levels
            ]
        levels = [1 - level if self.turned else level for level in self._levels]
        risk = RISKS[int(seconds / REGIME_SECONDS) % len(RISKS)]
        return {name: level_record(level) for name, level in zip(AGENTS, levels, strict=True)}, risk


def level_record(level: float) -> Record:
    """A record each of whose four scored metrics is so much of its best."""
    return record(pnl=10_000 * level, sharpe=3 * level, winrate=level, drawdown=20 * (1 - level))


Spoil = Callable[[dict[str, Any]], object]


def _nothing(_: dict[str, Any]) -> None:
    """Leave the payload as it is."""


def _without_numbers(said: dict[str, Any]) -> None:
    for metrics in said["per_agent"].values():
        metrics["sharpe_30d"] = math.nan


def _without_half(said: dict[str, Any]) -> None:
    for name in AGENTS[::2]:
        del said["per_agent"][name]


def _without_guardian(said: dict[str, Any]) -> None:
    del said["guardian"]


SPOILS: Final[dict[str, Spoil]] = {
    "well": _nothing,
    "nan": _without_numbers,
    "half": _without_half,
    "unguarded": _without_guardian,
}
MODES: Final = (*SPOILS, "still", "stale", "error", "drip")


class Answers:
    """What the dashboard answers, by its mode; ``clock`` in seconds of any beginning."""

    def __init__(self, fleet: Fleet, clock: Callable[[], float] = time.monotonic) -> None:
        self._fleet = fleet
        self._clock = clock
        self._began = clock()
        self._stands_still_at: float | None = None
        self.mode = "well"

    def enter(self, mode: str) -> None:
        """Answer in this mode from now on."""
        self.mode = mode
        self._stands_still_at = self._clock() - self._began if mode == "still" else None

    def turn(self) -> None:
        """Let the last be first."""
        self._fleet.turned = not self._fleet.turned

    def serve(self, connection: Connection) -> None:
        """Answer one question."""
        self._script()(connection)

    def _script(self) -> Script:
        if self.mode == "drip":
            return repeat(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b" ", 0.2)
        if self.mode == "error":
            return fixed({"error": "cache failed", "timestamp": "2025-11-03T22:00:00+00:00"})
        seconds = self._clock() - self._began
        agents, risk = self._fleet.at(seconds if self._stands_still_at is None else self._stands_still_at)
        said = payload(agents, risk=risk, at=time.time() - (STALE_SECONDS if self.mode == "stale" else 0))
        SPOILS.get(self.mode, _nothing)(said)
        return fixed(said)


class FleetServer:
    """The dashboard with its orders; the port stays the same over its absences."""

    def __init__(self, seed: int) -> None:
        self.answers = Answers(Fleet(seed))
        self._port = 0
        self._server: Dashboard | None = None
        self._open()

    def act(self, order: str) -> object:
        """Do as told; return the URL."""
        if order == "down":
            self.close()
        elif order == "up":
            self._open()
        elif order == "swing":
            self.answers.turn()
        elif order in MODES:
            self.answers.enter(order)
        elif order != "url":
            raise ValueError(f"no such order: {order}")
        return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.__exit__(None, None, None)
            self._server = None

    def _open(self) -> None:
        if self._server is None:
            self._server = Dashboard(self.answers.serve, port=self._port)
            self._server.__enter__()
            self._port = self._server.port


class FleetStation(Station):
    """The parent's end. Whatever serves a fleet can stand here: it needs ``url`` and these orders."""

    def __init__(self, seed: int) -> None:
        super().__init__("tests.soak.fleet", str(seed))
        self.url = str(self.order("url"))


if __name__ == "__main__":
    server = FleetServer(int(sys.argv[1]))
    try:
        obey(server.act)
    finally:
        server.close()
