"""How far scores can move a weight, given the size of the fleet and the limits of all agents."""

from __future__ import annotations

from dataclasses import dataclass

from capital_governor.core.model import Rules


@dataclass(frozen=True, slots=True)
class FleetRange:
    """The lowest and highest weight that scores can give one agent, and the reserve that the limits force."""

    agents: int
    lowest: float
    highest: float
    forced_reserve: float

    @property
    def width(self) -> float:
        """The distance between the two, 0..1."""
        return self.highest - self.lowest

    def freezes(self, rules: Rules) -> bool:
        """Whether scores alone can reach neither the threshold of one share nor that of the turnover."""
        return self.width < rules.threshold and self.agents * self.width / 2 < rules.turnover_threshold


def fleet_range(agents: int, rules: Rules) -> FleetRange:
    """Return the range for ``agents`` >= 1 agents whose only limits are MIN_ALLOC and MAX_ALLOC.

    One agent is highest when all others are at their floor, and lowest when all others are at their cap.
    """
    lo, hi = min(rules.min_alloc, 1.0 / agents), rules.max_alloc
    if agents * hi <= 1.0:
        return FleetRange(agents, hi, hi, 1.0 - agents * hi)
    lowest = max(lo, 1.0 - (agents - 1) * hi)
    highest = min(hi, 1.0 - (agents - 1) * lo)
    return FleetRange(agents, lowest, max(lowest, highest), 0.0)
