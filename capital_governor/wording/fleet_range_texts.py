"""How far scores can move a weight, in words for the commands. Pure."""

from __future__ import annotations

import math
from typing import Final

from capital_governor.core.fleet_range import FleetRange
from capital_governor.core.model import Rules
from capital_governor.wording.amounts import count_text, percent_text
from capital_governor.wording.log_lines import fleet_range_line

_ROUNDING: Final = 1e-9
"""Limits may differ by this much through float rounding."""


def fleet_range_text(room: FleetRange, rules: Rules) -> str:
    """Return how far scores can move a weight; where that is too little for a move, why, and what to change."""
    if not room.freezes(rules):
        return fleet_range_line(room, rules).text
    agents = count_text(room.agents, "agent")
    all_ = {1: "it sits", 2: "both sit"}.get(room.agents, "all sit")
    score = "it scores" if room.agents == 1 else "they score"
    if room.lowest >= rules.max_alloc:
        limit, place = f"a {percent_text(rules.max_alloc)} cap", f"{all_} at the cap"
        enough = math.ceil(100 / room.agents - _ROUNDING) / 100
        remedy = f"Raise CAPITAL_GOVERNOR_MAX_ALLOC {f'above {enough:g}' if room.agents > 1 else 'to 1'}"
    else:
        at_floor = room.highest < rules.max_alloc
        limit = f"a {percent_text(rules.min_alloc)} floor" if at_floor else f"a {percent_text(rules.max_alloc)} cap"
        place = f"each stays between {percent_text(room.lowest)} and {percent_text(room.highest)}"
        if room.width < _ROUNDING:
            place = f"{all_} at {percent_text(room.lowest)}"
        remedy = "Lower CAPITAL_GOVERNOR_MIN_ALLOC" if at_floor else "Raise CAPITAL_GOVERNOR_MAX_ALLOC"
    idle = percent_text(room.forced_reserve)
    stays_idle = "" if idle == percent_text(0) else f" and {idle} stays idle"
    return f"With {agents} and {limit} {place}{stays_idle}, whatever {score}. {remedy}"
