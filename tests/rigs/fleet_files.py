"""State files as NeoLight's agents write them, for tests of the hive."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from capital_governor.hive.state_files import StateFile, StateFiles

NOW: Final = 1_762_207_200.0
"""2025-11-03 22:00 UTC, in seconds since 1970."""
DAY: Final = 86_400.0
HOUR: Final = 3_600.0

Document = dict[str, Any]


def stamp(days_ago: float, now: float = NOW) -> str:
    return datetime.fromtimestamp(now - days_ago * DAY, UTC).isoformat()


def decision(agent: str, days_ago: float, pnl: object, now: float = NOW, **more: object) -> Document:
    """One decision; ``pnl`` None: not attributed yet."""
    base = {"agent": agent, "decision": "buy", "reasoning": "signal", "timestamp": stamp(days_ago, now)}
    return base | {"pnl": pnl, "pnl_attributed": pnl is not None} | more


def performance(*decisions: Document, now: float = NOW) -> Document:
    return {"decisions": list(decisions), "last_update": stamp(0.001, now)}


def two_agents(now: float = NOW) -> Document:
    """Two agents with three days of trades."""
    return performance(
        *(decision("SmartTrader", days, pnl, now) for days, pnl in ((2.5, -10.0), (1.5, 10.0), (0.5, 30.0))),
        *(decision("DropshipAgent", days, pnl, now) for days, pnl in ((2.4, 5.0), (1.4, 1.0), (0.4, -2.0))),
        now=now,
    )


def regime(now: float = NOW, **more: object) -> Document:
    return {"regime": "SIDEWAYS", "risk_multiplier": 0.8, "volatility": 0.012, "timestamp": stamp(0, now)} | more


def files(**documents: object) -> StateFiles:
    """The files; a document by the name of its field, a text for a problem, none for a missing file."""
    found = {
        name: StateFile(problem=content) if isinstance(content, str) else StateFile(content)  # type: ignore[arg-type]
        for name, content in documents.items()
    }
    return StateFiles(**found)
