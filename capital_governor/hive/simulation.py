"""A simulated fleet that trades on its own clock and writes the state files that real agents would.

Events are set in days of the fleet's clock. However fast that runs, its current moment is the current time in the
files, so that readers see a fleet with 30 days behind it. The same seed and day give the same files, except for time
stamps.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

from capital_governor.hive.decisions import KEPT_DECISIONS
from capital_governor.hive.state_files import PAUSE, PERFORMANCE, REGIME, REVENUE, STRATEGIES

DAY_SECONDS: Final = 86_400.0
STEP_DAYS: Final = 0.25
"""Every agent closes one trade per step."""
PAST_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Character:
    """How an agent trades; amounts per trade in account currency.

    Args:
        mean: the mean profit.
        deviation: the standard deviation of the profit.
        joins_day: when it appears, with the trades of its last ``PAPER_DAYS``; None: it was always there.
        fades_day: from then on its mean is ``faded_mean``; None: never.
        faded_mean: see ``fades_day``.
    """

    mean: float
    deviation: float
    joins_day: float | None = None
    fades_day: float | None = None
    faded_mean: float = 0.0


PAPER_DAYS: Final = 4.0

FADES_DAY: Final = 3.0
PAUSED_DAYS: Final = (8.0, 11.0)
CRASH_DAY: Final = 13.0
CALM_DAY: Final = 24.0
FAULTY_DAYS: Final = (17.0, 20.0)
JOINS_DAY: Final = 21.0

FLEET: Final[Mapping[str, Character]] = {
    "GridKeeper": Character(60, 60),  # steady
    "TrendRider": Character(110, 450),  # volatile
    "MomentumFox": Character(240, 160, fades_day=FADES_DAY, faded_mean=-220),  # decaying
    "NewsScalper": Character(-60, 180),  # losing
    "DropshipAgent": Character(25, 45),  # small and steady, with revenue beside its trades
    "LateJoiner": Character(90, 110, joins_day=JOINS_DAY),
}
FAULTY: Final = "GridKeeper"
"""For some days this agent writes a text instead of an amount."""
PAUSE_REASON: Final = "Rate limit cooldown"
REGIMES: Final = ((0.0, "BULL", 1.2), (CRASH_DAY, "BEAR", 0.5), (CALM_DAY, "SIDEWAYS", 0.8))
"""By first day: the market regime and its risk multiplier."""


@dataclass(frozen=True, slots=True)
class Deal:
    """One trade: the agent, the day on the fleet's clock, and the profit or loss."""

    agent: str
    day: float
    pnl: float


@dataclass(slots=True)
class Fleet:
    """The fleet; its clock begins at day 0, with the trades of 30 days before.

    Args:
        seed: determines every trade.
    """

    seed: int
    day: float = 0.0
    _steps: int = -int(PAST_DAYS / STEP_DAYS)
    _dice: dict[str, Random] = field(default_factory=dict)
    _deals: deque[Deal] = field(default_factory=lambda: deque(maxlen=KEPT_DECISIONS))

    def __post_init__(self) -> None:
        # One generator per agent, so that agents do not depend on each other.
        self._dice = {agent: Random(f"{self.seed} {agent}") for agent in FLEET}  # noqa: S311 - repeatable, not secret
        self.run_to(0.0)

    def run_to(self, day: float) -> None:
        """Simulate the trades of every agent until ``day``; the clock never goes back."""
        self.day = max(self.day, day)
        while (self._steps + 1) * STEP_DAYS <= self.day:
            self._steps += 1
            moment = self._steps * STEP_DAYS
            for agent, character in FLEET.items():
                self._deals.append(Deal(agent, moment, self._profit(agent, character, moment)))

    def documents(self, now: float) -> dict[Path, dict[str, Any] | None]:
        """Return the state files by path below the root; None: there is no such file.

        Args:
            now: the time of the fleet's current moment, in seconds since 1970 UTC.
        """
        return {
            PERFORMANCE: {
                "decisions": [self._entry(deal, now) for deal in self._seen()],
                "last_update": _iso(now),
                "simulated": True,  # the same decisions get new times each time, so no history can be kept
            },
            STRATEGIES: self._strategies(),
            REVENUE: self._revenue(now),
            REGIME: self._regime(now),
            PAUSE: {"paused": True, "reason": PAUSE_REASON, "updated_at": _iso(now)}
            if PAUSED_DAYS[0] <= self.day < PAUSED_DAYS[1]
            else None,
        }

    def write(self, root: Path, now: float) -> None:
        """Write the state files below ``root``, each as a whole. Raises OSError."""
        for path, document in self.documents(now).items():
            if document is None:
                (root / path).unlink(missing_ok=True)
            else:
                replace_file(root / path, json.dumps(document, indent=1).encode())

    def _profit(self, agent: str, character: Character, moment: float) -> float:
        faded = character.fades_day is not None and moment >= character.fades_day
        mean = character.faded_mean if faded else character.mean
        return round(self._dice[agent].gauss(mean, character.deviation), 2)

    def _seen(self) -> list[Deal]:
        """Return the trades for the file; those of a newcomer only once it has joined."""
        return [deal for deal in self._deals if self._shows(deal)]

    def _shows(self, deal: Deal) -> bool:
        joins = FLEET[deal.agent].joins_day
        return joins is None or (self.day >= joins and deal.day >= joins - PAPER_DAYS)

    def _entry(self, deal: Deal, now: float) -> dict[str, Any]:
        pnl: float | str | None = deal.pnl
        attributed = deal.day < self._steps * STEP_DAYS  # the newest is still open
        faulty = FAULTY_DAYS[0] <= self.day < FAULTY_DAYS[1]
        if faulty and deal.agent == FAULTY and deal.day >= FAULTY_DAYS[0] and attributed:
            pnl = "n/a"
        return {
            "agent": deal.agent,
            "decision": "sell" if deal.pnl < 0 else "buy",
            "reasoning": "simulated",
            "timestamp": _iso(now - (self.day - deal.day) * DAY_SECONDS),
            "pnl": pnl if attributed else None,
            "pnl_attributed": attributed,
        }

    def _strategies(self) -> dict[str, Any]:
        dice = Random(f"{self.seed} strategies {self._steps}")  # noqa: S311
        ranked = [
            {"strategy": name, "sharpe": round(dice.gauss(sharpe, 0.1), 3), "drawdown": drawdown, "score": score}
            for name, sharpe, drawdown, score in (("pairs_trading", 1.8, 8.0, 1.048), ("momentum", 1.1, 14.0, 0.71))
        ]
        return {"ranked_strategies": ranked, "active_strategies": ranked[:1]}

    def _revenue(self, now: float) -> dict[str, Any]:
        total = round(25.0 * (self._steps + PAST_DAYS / STEP_DAYS), 2)
        sale = {"total_revenue": total, "total_cost": 0.0, "last_transaction": _iso(now), "status": "active"}
        return {"agents": {"DropshipAgent": sale}, "last_update": _iso(now)}

    def _regime(self, now: float) -> dict[str, Any]:
        name, multiplier = next((name, risk) for day, name, risk in reversed(REGIMES) if self.day >= day)
        dice = Random(f"{self.seed} market {self._steps}")  # noqa: S311
        wild = 3 if name == "BEAR" else 1
        return {
            "regime": name,
            "risk_multiplier": multiplier,
            "volatility": round(0.012 * wild * dice.uniform(0.8, 1.2), 5),
            "mean_return": round(dice.gauss(-0.002 if name == "BEAR" else 0.001, 0.0005), 6),
            "timestamp": _iso(now),
            "description": "simulated",
        }


def replace_file(path: Path, content: bytes) -> None:
    """Replace the content of the file atomically, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)  # noqa: PTH105 - named like the system call that is atomic
    finally:
        temporary.unlink(missing_ok=True)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()
