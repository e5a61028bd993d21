"""A root with a night behind it: real cycles at set times, with all that a history tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from capital_governor.core.model import Agent, Guardian, Metrics, Refusal, Regime, Snapshot
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.service.cycle import Cycle
from capital_governor.settings.load import load

EVENING: Final = 1_762_207_200.0
"""2025-11-03 22:00:00 UTC."""
FLEET: Final = {
    "SmartTrader": Metrics(850.0, 1.234, 0.65, 2.5),
    "CryptoTrend": Metrics(6_200.0, 2.1, 0.58, 6.0),
    "DropshipAgent": Metrics(350.0, 0.85, 0.72, 1.2),
    "NewsScalper": Metrics(-420.0, -0.35, 0.2, 11.0),
}
UNREACHABLE: Final = Refusal(Reason.FETCH_FAILED, "connection refused by http://localhost:8100/meta/metrics")


@dataclass
class Night:
    """Cycles of one root, five minutes apart.

    Args:
        root: the root.
        settings: by variable.
        now: the time of the next cycle.
    """

    root: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    now: float = EVENING

    def __post_init__(self) -> None:
        self.journal = open_sqlite(self.root / "state" / "capital_governor.sqlite3")
        settings = load(self.root, dict(self.settings))
        self.cycle = Cycle(settings, self.journal, clock=lambda: self.now)
        self.cycle.recover()

    def pass_by(
        self,
        cycles: int = 1,
        *,
        fleet: Mapping[Agent, Metrics] | None = None,
        faults: Mapping[Agent, str] | None = None,
        risk: float = 1.0,
        regime: str = "BULL",
        paused: str = "",
        refusal: Refusal | None = None,
    ) -> None:
        """Complete cycles that all see the same."""
        fleet, faults = FLEET if fleet is None else fleet, faults or {}
        for _ in range(cycles):
            seen = Snapshot(
                self.now - 3,
                {agent: metrics for agent, metrics in fleet.items() if agent not in faults},
                faults=faults,
                guardian=Guardian(bool(paused), 0.0, paused),
                regime=Regime(regime, risk, self.now - 3),
            )
            self.cycle.conclude(refusal or seen)
            self.now += 300.0

    def order(
        self, kind: OrderKind, *, agent: str = "", cap: float | None = None, reason: str = "", accepts: str = ""
    ) -> Order:
        given = Order(
            key=f"{kind.value}-{self.now:.0f}",
            kind=kind,
            author="anna",
            given_at=self.now,
            agent=agent,
            cap=cap,
            reason=reason,
            accepts=accepts,
        )
        self.journal.put_orders([given])
        return given

    def take_back(self, order: Order) -> None:
        self.journal.put_orders([order.ended(self.now, OrderEnd.TAKEN_BACK, "bob")])

    def end(self) -> None:
        self.cycle.leave()
        self.journal.close()


def whole_night(root: Path) -> Night:
    """A cut by the market, a pause, a lost dashboard, a faulty record, a cap, a gap, and half of the fleet gone."""
    night = Night(root)
    night.pass_by(4)
    night.pass_by(3, risk=0.5, regime="BEAR")
    night.pass_by(3, risk=0.5, regime="BEAR", paused="Manual check")
    night.pass_by(2, risk=0.5, regime="BEAR")
    night.pass_by(4, refusal=UNREACHABLE)
    night.pass_by(3, risk=0.5, regime="BEAR", faults={"NewsScalper": "winrate_30d is 65, not within 0..1"})
    cap = night.order(OrderKind.LIMIT, agent="SmartTrader", cap=0.1, reason="new strategy")
    night.pass_by(2, risk=0.5, regime="BEAR")
    night.now += 3_600.0
    night.pass_by(2)
    night.take_back(cap)
    night.pass_by(2)
    night.pass_by(6, fleet={agent: FLEET[agent] for agent in FLEET if agent != "NewsScalper"})
    night.pass_by(2, fleet={"SmartTrader": FLEET["SmartTrader"]})
    night.pass_by(1, fleet={agent: FLEET[agent] for agent in FLEET if agent != "NewsScalper"})
    night.end()
    return night
