"""What the dashboard has to tell in the model: the fleet, its payload as bytes, and what the oracle sees of it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tests.oracle.sight import GuardianBlock, Payload
from tests.oracle.weather import some_record

NAMES: Final = ("Atlas", "Bolt", "Crest", "Drop Ship", "Echo", "Hive-2")
FAULTS: Final[dict[str, Any]] = {
    "NaN": float("nan"),
    "infinite": float("inf"),
    "text": "0.5",
    "true": True,
    "null": None,
    "missing": ...,
    "huge": 1e400,
}
"""What may stand for a number: any of these is a faulty record."""
STRANGER: Final = "../x\n"
LOST: Final = ("guardian", "regime", "stamp", "drawdown", "multiplier")
"""What a payload may lack."""


@dataclass(slots=True)
class Said:
    """One answer of the dashboard: as bytes, and as it is to be understood. ``seen`` a word: a reason for none."""

    body: bytes
    seen: Payload | str


@dataclass(slots=True)
class Dashboard:
    """The fleet and what befalls it."""

    records: dict[str, dict[str, float]] = field(default_factory=dict)
    faulty: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    lacks: set[str] = field(default_factory=set)
    drawdown: float = 0.0
    multiplier: float = 1.0
    paused: bool = False
    said: str = ""
    stranger: bool = False
    regime_age: float | None = None

    def rescore(self, seed: int, names: set[str]) -> None:
        """Give these agents new records; those that were unknown join."""
        rng = random.Random(seed)  # noqa: S311 - the same fleet for the same seed
        for name in sorted(names):
            self.records[name] = some_record(rng)

    def heal(self) -> None:
        """Let everything that is wrong with the payload be over; the fleet is what it was."""
        self.faulty, self.absent, self.lacks = {}, set(), set()
        self.paused, self.stranger, self.regime_age = False, False, None

    def payload(self, at: float) -> Said:
        """Return what is said at this time."""
        present = {name: record for name, record in self.records.items() if name not in self.absent}
        agents: dict[str, Any] = {name: self._record(name, record) for name, record in present.items()}
        seen: dict[str, dict[str, float] | None] = {
            name: None if name in self.faulty else record for name, record in present.items()
        }
        if self.stranger:
            agents[STRANGER], seen["../x\\n"] = dict.fromkeys(("pnl_7d", "sharpe_30d"), 1.0), None
        guardian = {"is_paused": self.paused, "drawdown": self.drawdown, "reason": self.said}
        regime: dict[str, Any] = {"regime": "BULL", "risk_multiplier": self.multiplier}
        if "drawdown" in self.lacks:
            guardian["drawdown"] = None
        if "multiplier" in self.lacks:
            del regime["risk_multiplier"]
        regime_at = None if self.regime_age is None else at - self.regime_age
        if regime_at is not None:
            regime["timestamp"] = datetime.fromtimestamp(regime_at, UTC).isoformat()
        document = {
            "timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
            "per_agent": agents,
            "guardian": guardian,
            "market_regime": regime,
        }
        for lack, key in (("guardian", "guardian"), ("regime", "market_regime"), ("stamp", "timestamp")):
            if lack in self.lacks:
                del document[key]
        known = self.lacks.isdisjoint({"regime", "multiplier"})
        block = GuardianBlock(self.paused, None if "drawdown" in self.lacks else self.drawdown, self.said)
        payload = Payload(
            at=None if "stamp" in self.lacks else at,
            records=seen,
            guardian=None if "guardian" in self.lacks else block,
            multiplier=self.multiplier if known else None,
            regime_at=regime_at,
        )
        return Said(json.dumps(document).encode(), payload)

    def _record(self, name: str, record: dict[str, float]) -> dict[str, Any]:
        fault = self.faulty.get(name)
        if fault is None:
            return dict(record)
        return {key: value for key, value in (record | {"sharpe_30d": FAULTS[fault]}).items() if value is not ...}
