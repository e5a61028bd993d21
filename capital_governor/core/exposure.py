"""How much of all capital may be deployed: named multipliers in [0, 1], of which the most cautious wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from capital_governor.core.model import DRAWDOWN, REGIME, Rules, Snapshot
from capital_governor.core.trace import Multiplier


@dataclass(frozen=True, slots=True)
class Exposure:
    """The smallest multiplier, its name, all of them, and what is known of each from here on."""

    value: float
    by: str
    multipliers: tuple[Multiplier, ...]
    known: Mapping[str, float]


def expose(snapshot: Snapshot, known: Mapping[str, float], rules: Rules) -> Exposure:
    """Return the exposure for a usable payload.

    Args:
        snapshot: its regime's ``risk_multiplier`` (above 1 counts as 1: there is no leverage) and its guardian's
            drawdown in percent; either may be missing.
        known: the last known value of each multiplier. What is missing now counts as that; what never was known, as 1.
        rules: the line along which drawdown cuts.
    """
    raw = {
        REGIME: None if snapshot.regime is None else snapshot.regime.risk_multiplier,
        DRAWDOWN: None if snapshot.guardian is None else snapshot.guardian.drawdown_percent,
    }
    multipliers = []
    for name, value in raw.items():
        if value is not None:
            clipped = min(1.0, max(0.0, value)) if name == REGIME else drawdown_multiplier(value, rules)
            multipliers.append(Multiplier(name, clipped, "payload", value))
        elif name in known:
            multipliers.append(Multiplier(name, known[name], "last known"))
        else:
            multipliers.append(Multiplier(name, 1.0, "default"))
    smallest = min(multipliers, key=lambda multiplier: multiplier.value)
    learnt = {multiplier.name: multiplier.value for multiplier in multipliers if multiplier.origin != "default"}
    return Exposure(smallest.value, smallest.name, tuple(multipliers), dict(known) | learnt)


def drawdown_multiplier(percent: float, rules: Rules) -> float:
    """Return 1 up to the cut's start, its floor from the cut's end on, and the straight line between."""
    start, end, floor = rules.drawdown_cut_start_percent, rules.drawdown_cut_end_percent, rules.drawdown_cut_floor
    if percent <= start:
        return 1.0
    if percent >= end:
        return floor
    return min(1.0, max(floor, 1.0 - (1.0 - floor) * (percent - start) / (end - start)))
