"""The scenes of the demo, each with its days on the fleet's clock and the cycle that it waits for. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from capital_governor.core.model import REGIME
from capital_governor.core.reason import HOLDS, Reason
from capital_governor.hive.simulation import CALM_DAY, CRASH_DAY, FADES_DAY, FAULTY, FAULTY_DAYS, JOINS_DAY, PAUSED_DAYS
from capital_governor.journal.protocol import Entry

HALF: Final = 500_000
"""Half of all capital, in millionths."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene.

    Args:
        name: the scene's name.
        happens: what the fleet or its market does.
        awaits: the cycle that it waits for, in words.
        begins_day: on the fleet's clock.
        ends_day: the clock stops here until that cycle has come.
        proven_by: whether a journalled cycle is that one.
    """

    name: str
    happens: str
    awaits: str
    begins_day: float
    ends_day: float
    proven_by: Callable[[Entry], bool]


def _reallocated(entry: Entry) -> bool:
    return entry.reason in {Reason.THRESHOLD, Reason.TURNOVER, Reason.DERISK}


def _resumed(entry: Entry) -> bool:
    return entry.decided and entry.reason not in HOLDS


def _regime_cut(entry: Entry) -> bool:
    trace, proposal = entry.decision.trace, entry.decision.proposal
    cut = entry.reason in {Reason.THRESHOLD, Reason.DERISK, Reason.CUT_DERISK}
    return cut and trace.exposure_by == REGIME and proposal is not None and proposal.reserve >= HALF


def _quarantined(entry: Entry) -> bool:
    before, after = entry.state.published, entry.after.published
    if before is None or after is None or FAULTY not in entry.decision.trace.faulty:
        return False
    return after.shares[FAULTY] <= before.shares[FAULTY]


SCENES: Final = (
    Scene(
        "first allocation",
        "five agents traded for a month; none has capital yet",
        "the first allocation",
        0.0,
        FADES_DAY,
        lambda entry: entry.reason is Reason.FIRST_ALLOCATION,
    ),
    Scene(
        "reallocation",
        "MomentumFox, the best so far, begins to lose",
        "a move",
        FADES_DAY,
        PAUSED_DAYS[0],
        _reallocated,
    ),
    Scene(
        "Guardian pause",
        "Guardian pauses the fleet: no share may move",
        "the pause, with the shares as they were",
        *PAUSED_DAYS,
        lambda entry: entry.reason is Reason.PAUSED and entry.after.published == entry.state.published,
    ),
    Scene(
        "end of the pause",
        "Guardian lifts the pause: shares may move again",
        "a cycle that decides again",
        PAUSED_DAYS[1],
        CRASH_DAY,
        _resumed,
    ),
    Scene(
        "regime cut",
        "the market turns from BULL to BEAR: risk is halved",
        "a move by which the market leaves half of all capital in reserve",
        CRASH_DAY,
        FAULTY_DAYS[0],
        _regime_cut,
    ),
    Scene(
        "faulty agent",
        f"{FAULTY} reports a profit that is no number",
        f"a cycle in which {FAULTY} is faulty and gains nothing",
        FAULTY_DAYS[0],
        JOINS_DAY,
        _quarantined,
    ),
    Scene(
        "newcomer",
        "LateJoiner appears, with four days of trades",
        "the newcomer's first share",
        JOINS_DAY,
        CALM_DAY,
        lambda entry: entry.reason is Reason.MEMBER_JOINED,
    ),
)
DAYS: Final = SCENES[-1].ends_day
"""The length of the demo, in days of the fleet's clock."""
