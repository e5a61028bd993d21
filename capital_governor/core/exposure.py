"""How much of all capital may be deployed: the smallest of several named multipliers in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from capital_governor.core.model import (
    DRAWDOWN,
    FUTURE_TOLERANCE_SECONDS,
    MIN_RESERVE,
    OPERATOR,
    REGIME,
    Inputs,
    Regime,
    Rules,
    Snapshot,
)
from capital_governor.core.trace import Multiplier

DEFAULT: Final = "default"
"""The origin of a multiplier that no payload has ever had."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """The smallest multiplier, its name, all multipliers, the last known value of each, and warnings."""

    value: float
    by: str
    multipliers: tuple[Multiplier, ...]
    known: Mapping[str, float]
    warnings: tuple[str, ...] = ()


def ceilings(inputs: Inputs, rules: Rules) -> tuple[Multiplier, ...]:
    """Return the multipliers that a person sets: the operator's ceiling in force, and 1 - MIN_RESERVE."""
    order = inputs.ceiling
    found = []
    if order is not None and order.in_force(inputs.now):
        found.append(Multiplier(OPERATOR, order.value, "order"))
    if rules.min_reserve > 0.0:
        found.append(Multiplier(MIN_RESERVE, 1.0 - rules.min_reserve, "setting"))
    return tuple(found)


def expose(
    snapshot: Snapshot, known: Mapping[str, float], now: float, above: tuple[Multiplier, ...], rules: Rules
) -> Exposure:
    """Return the exposure for a usable payload.

    A regime whose own time stamp is older than MAX_AGE or in the future may lower the last known multiplier, but not
    raise it, so that a dead detector is not taken for a calm market. Without a last known one it is used as it is.

    Args:
        snapshot: its regime's ``risk_multiplier`` (above 1 counts as 1: there is no leverage) and its guardian's
            drawdown in percent; either may be missing.
        known: the last known value of each multiplier, used if the payload lacks it. Without one, 1 is used.
        now: the time of the decision, in seconds since 1970 UTC.
        above: the ceilings.
        rules: the line along which drawdown cuts, and MAX_AGE.
    """
    percent = None if snapshot.guardian is None else snapshot.guardian.drawdown_percent
    drawdown = _unsaid(DRAWDOWN, known)
    if percent is not None:
        drawdown = Multiplier(DRAWDOWN, drawdown_multiplier(percent, rules), "payload", percent)
    regime, warnings = _regime(snapshot.regime, known, now, rules)
    multipliers = (regime, drawdown, *above)
    smallest = min(multipliers, key=lambda multiplier: multiplier.value)
    learnt = {each.name: each.value for each in (regime, drawdown) if each.origin != DEFAULT}
    warnings += _never_sent((regime, drawdown))
    return Exposure(smallest.value, smallest.name, multipliers, dict(known) | learnt, tuple(warnings))


def _unsaid(name: str, known: Mapping[str, float]) -> Multiplier:
    return Multiplier(name, known[name], "last known") if name in known else Multiplier(name, 1.0, DEFAULT)


def _regime(
    regime: Regime | None, known: Mapping[str, float], now: float, rules: Rules
) -> tuple[Multiplier, list[str]]:
    last = _unsaid(REGIME, known)
    if regime is None or regime.risk_multiplier is None:
        return last, []
    said = Multiplier(REGIME, min(1.0, max(0.0, regime.risk_multiplier)), "payload", regime.risk_multiplier)
    age = 0.0 if regime.at is None else now - regime.at
    if age > rules.max_age_seconds:
        # A text without the age: the same text is logged once a day only.
        odd = f"the market regime is older than {rules.max_age_seconds:.0f} s, its detector may be dead"
        said = replace(said, origin="stale payload")
    elif age < -FUTURE_TOLERANCE_SECONDS:
        odd = "the market regime's time stamp is in the future"
    else:
        return said, []
    chosen = said if last.origin == DEFAULT or said.value < last.value else last
    return chosen, [f"{odd}: it may lower exposure, but not raise it"]


def _never_sent(multipliers: Sequence[Multiplier]) -> list[str]:
    """Return a warning about multipliers that no payload has ever had, and so cannot lower exposure."""
    missing = {multiplier.name for multiplier in multipliers if multiplier.origin == DEFAULT}
    if missing == {REGIME, DRAWDOWN}:
        return ["neither market regime nor drawdown has ever been sent: exposure is 100 %"]
    if REGIME in missing:
        return ["no market regime has ever been sent: only drawdown lowers exposure"]
    return ["no drawdown has ever been sent: only the market regime lowers exposure"] if missing else []


def drawdown_multiplier(percent: float, rules: Rules) -> float:
    """Return 1 up to DRAWDOWN_CUT_START, DRAWDOWN_CUT_FLOOR from DRAWDOWN_CUT_END on, and a straight line between."""
    start, end, floor = rules.drawdown_cut_start_percent, rules.drawdown_cut_end_percent, rules.drawdown_cut_floor
    if percent <= start:
        return 1.0
    if percent >= end:
        return floor
    return min(1.0, max(floor, 1.0 - (1.0 - floor) * (percent - start) / (end - start)))
