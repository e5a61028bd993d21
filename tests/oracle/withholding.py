"""What is withheld from a plan: the last step of every cycle. Shares are integers in millionths of all capital."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.oracle.arithmetic import CRUMB, MILLION, millionths, on_the_edge
from tests.oracle.fleet import Fleet, least_cap, most_of_anybody
from tests.oracle.sight import Observation, Payload, Published, Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """The lines of a plan with its weights and exposure, and the shares that are left of them.

    ``delicate``: the last digit of a float, or the order of two roundings, decides about a millionth of them.
    """

    lines: dict[str, int]
    shares: dict[str, int]
    weights: dict[str, float]
    exposure: float
    delicate: bool = False

    @staticmethod
    def of(published: Published) -> Plan:
        return Plan(published.plan(), published.shares, published.weights, published.exposure)

    def scaled(self, exposure: float) -> Plan:
        """Return the plan and its shares at this exposure, if it is below theirs."""
        if exposure >= self.exposure:
            return self

        def at(crumb: float) -> list[dict[str, int]]:
            return [
                {name: math.floor(value * exposure / self.exposure + crumb) for name, value in parts.items()}
                for parts in (self.lines, self.shares)
            ]

        lines, shares = at(CRUMB)
        if sum(lines.values()) > millionths(1, exposure):
            lines, shares = at(0.0)
        values = [*self.lines.values(), *self.shares.values()]
        delicate = self.delicate or any(on_the_edge(value * exposure / self.exposure) for value in values)
        return Plan(lines, shares, self.weights, exposure, delicate)


def after_a_decision(
    plan: Plan,
    old: Plan | None,
    fleet: Fleet,
    high: Mapping[str, float],
    seen: Observation,
    payload: Payload,
    settings: Settings,
) -> Plan:
    """Return the plan with the shares that are left of its lines once all is withheld.

    ``high`` are the upper limits of the members, ``old`` the plan and the shares that are published.
    """
    most, delicate = _within_limits(plan, lambda name: high.get(name, 1.0), settings)
    members, shares = fleet.members(), {}
    for name, line in plan.lines.items():
        had = 0 if old is None else old.shares.get(name, 0)
        shares[name] = min(most[name], millionths(least_cap(name, seen), plan.exposure))
        if name not in members or fleet.people[name].lapsed:
            shares[name] = 0
        elif payload.records.get(name) is None:
            shares[name] = min(shares[name], had)
        if old is not None and had < old.lines.get(name, 0) and settings.max_step < 1:
            weight = had / MILLION / old.exposure + settings.max_step
            shares[name] = min(shares[name], millionths(weight, plan.exposure))
            delicate |= line > 0 and on_the_edge(weight * plan.exposure * MILLION)
    return Plan(plan.lines, shares, plan.weights, plan.exposure, plan.delicate or delicate)


def tightened(plan: Plan, seen: Observation, settings: Settings) -> Plan:
    """Return the plan with no more left of any line than MAX_ALLOC, the caps and the groups allow; nothing rises."""
    most, delicate = _within_limits(plan, lambda name: most_of_anybody(name, seen, settings), settings)
    shares = {
        name: min(share, most[name], millionths(least_cap(name, seen), plan.exposure))
        for name, share in plan.shares.items()
    }
    return Plan(plan.lines, shares, plan.weights, plan.exposure, plan.delicate or delicate)


def _within_limits(plan: Plan, high: Callable[[str], float], settings: Settings) -> tuple[dict[str, int], bool]:
    """Cut every line to its upper limit, then scale down each group that is above its cap."""
    most = {name: min(line, millionths(high(name), plan.exposure)) for name, line in plan.lines.items()}
    delicate = False
    for cap, team in settings.teams(plan.lines):
        total, room = sum(most[name] for name in team), millionths(cap, plan.exposure)
        if total > room:
            exact = {name: most[name] * cap * plan.exposure * MILLION / total for name in team}
            most |= {name: most[name] * room // total for name in team}
            # Whether the cap itself is rounded down first, the rules do not say.
            delicate |= any(math.floor(value + CRUMB) != most[name] for name, value in exact.items())
    return most, delicate
