"""What stands between hive and governor: it hands over the answer as it is, makes a lie of it, or breaks down."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from tests.rigs.dashboard import fixed
from tests.rigs.raw_server import Connection, answer, repeat

HOST: Final = "127.0.0.1"
HIVE_SECONDS: Final = 2.0
"""The hive's time for a whole answer; less than the governor's, so that a hive that hangs is told from a slow one."""
MOST_BYTES: Final = 1 << 20
STALE_SECONDS: Final = 7_200.0
SILENT: Final = ("NewsScalper", "TrendRider")
"""The agents that mode "silent" leaves out: less than half of the fleet."""
OK: Final = b"HTTP/1.1 200 "

Payload = dict[str, Any]


# --- the hive ---------------------------------------------------------------------------------------------------------


def ask(port: int, seconds: float = HIVE_SECONDS) -> bytes | None:
    """Return all that the hive at this port of 127.0.0.1 sends for the metrics, None if that is no whole answer."""
    end = time.monotonic() + seconds
    said = b""
    try:
        with socket.create_connection((HOST, port), timeout=seconds) as connection:
            connection.sendall(
                f"GET /meta/metrics HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode()
            )
            while len(said) <= MOST_BYTES:
                connection.settimeout(max(0.001, end - time.monotonic()))
                piece = connection.recv(65_536)
                if not piece:
                    break
                said += piece
    except OSError:
        return None
    return said if _is_whole(said) else None


def _is_whole(said: bytes) -> bool:
    head, _, body = said.partition(b"\r\n\r\n")
    return f"content-length: {len(body)}" in head.decode("latin-1").lower().splitlines()


# --- lies -------------------------------------------------------------------------------------------------------------


def _stamp(said: Payload, at: float) -> None:
    said["timestamp"] = said["cache_timestamp"] = datetime.fromtimestamp(at, UTC).isoformat()


def _without_numbers(said: Payload) -> None:
    for metrics in said["per_agent"].values():
        metrics["sharpe_30d"] = math.nan


def _without_half(said: Payload) -> None:
    for name in sorted(said["per_agent"])[::2]:
        del said["per_agent"][name]


def _without_two(said: Payload) -> None:
    for name in SILENT:
        said["per_agent"].pop(name, None)


def _without_guardian(said: Payload) -> None:
    del said["guardian"]


LIES: Final[dict[str, Callable[[Payload], object]]] = {
    "nan": _without_numbers,
    "half": _without_half,
    "silent": _without_two,
    "unguarded": _without_guardian,
    "stale": lambda said: _stamp(said, time.time() - STALE_SECONDS),
    "still": lambda said: _stamp(said, time.time()),
}
MODES: Final = ("well", *LIES, "error", "drip")


class Gateway:
    """Answers in its ``mode`` what the hive says.

    Args:
        ask: returns the hive's whole answer, head and body, or None.

    Attributes:
        counts: of the hive's answers, those "relayed", "changed" and, whatever the mode, "refused" by the hive itself;
            "silent": there was none.
    """

    def __init__(self, ask: Callable[[], bytes | None]) -> None:
        self._ask = ask
        self._changing = threading.Lock()
        self._mode = "well"
        self._heard: Payload = {"per_agent": {}}
        self._held: Payload | None = None
        self.counts = Counter(relayed=0, changed=0, refused=0, silent=0)

    def enter(self, mode: str) -> None:
        """Answer in this mode from now on."""
        with self._changing:
            self._mode, self._held = mode, None

    def look_again(self) -> None:
        """Hold other figures in mode "still": those of the hive's next answer."""
        with self._changing:
            self._held = None

    def leaders(self) -> list[str]:
        """Return the better half of the agents in the hive's last payload."""
        return better_half(self._heard["per_agent"])

    def serve(self, connection: Connection) -> None:
        """Answer one question; a hive that is silent gets the connection closed."""
        with self._changing:
            mode, held = self._mode, self._held
        if mode == "drip":
            repeat(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b" ", 0.2)(connection)
        elif mode == "error":
            fixed({"error": "cache failed", "timestamp": "2025-11-03T22:00:00+00:00"})(connection)
        elif held is not None:
            LIES[mode](held)
            fixed(held)(connection)
        else:
            self._hand_over(mode, connection)

    def _hand_over(self, mode: str, connection: Connection) -> None:
        said = self._ask()
        if said is None:
            self._count("silent")
        elif not said.startswith(OK):
            self._count("refused")
            answer(said)(connection)
        elif mode == "well":
            self._count("relayed")
            self._heard = _payload(said)
            answer(said)(connection)
        else:
            self._count("changed")
            self._heard, lie = _payload(said), _payload(said)
            LIES[mode](lie)
            with self._changing:
                self._held = lie if mode == self._mode == "still" else None
            fixed(lie)(connection)

    def _count(self, kind: str) -> None:
        with self._changing:
            self.counts[kind] += 1


def _payload(said: bytes) -> Payload:
    found: Payload = json.loads(said.partition(b"\r\n\r\n")[2])
    return found


def better_half(agents: dict[str, Payload]) -> list[str]:
    """Return the names of those that score better than the others; of an odd number the larger part."""
    ranked = sorted(agents, key=lambda name: -worth(agents[name]))
    return ranked[: (len(ranked) + 1) // 2]


def worth(metrics: Payload) -> float:
    """Return the score of an agent's metrics by the published formula, 0 for one that has none."""
    if any(metrics[name] is None for name in ("pnl_7d", "sharpe_30d", "winrate_30d", "max_dd_30d")):
        return 0.0
    parts = (
        0.4 * _clipped(metrics["pnl_7d"] / 10_000),
        0.3 * _clipped(metrics["sharpe_30d"] / 3),
        0.2 * float(metrics["winrate_30d"]),
        0.1 * (1 - _clipped(metrics["max_dd_30d"] / 20)),
    )
    return sum(parts)


def _clipped(part: float) -> float:
    return min(1.0, max(0.0, part))
