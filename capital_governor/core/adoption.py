"""How a start changes the state.

It may adopt a file, take over the latches of a status file or a state of an earlier version, or abandon a generation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from capital_governor.core.membership import adopted
from capital_governor.core.model import REGIME, Latches, Publication, State


def adopt(state: State, found: Publication) -> State:
    """Return the state with a valid primary file that the journal does not know as what is published.

    Its agents become tenured members. Its exposure counts as the last known regime if none was known. When the last
    move was made is not in the file, so its own time counts, which is not earlier.
    """
    return replace(
        state,
        published=found,
        generation=max(state.generation, found.generation),
        agents=adopted(state.agents, state.metrics, found),
        multipliers={REGIME: found.exposure} | dict(state.multipliers),
        moved_at=found.at,
    )


def recall(state: State, told: Latches, multipliers: Mapping[str, float]) -> State:
    """Return the state with the latches and multipliers of a status file that is newer than the journal.

    Latches are only added, so that no hold ends by this: a pause, and a guardian block or time stamp once seen.

    Args:
        state: from the journal.
        told: the latches in the status file.
        multipliers: the last known exposure multipliers in the status file.
    """
    known = state.latches
    latches = replace(
        known,
        paused=known.paused or told.paused,
        guardian_seen=known.guardian_seen or told.guardian_seen,
        timestamp_seen=known.timestamp_seen or told.timestamp_seen,
    )
    return replace(state, latches=latches, multipliers={**state.multipliers, **multipliers})


def taken_over(state: State) -> State:
    """Return a state of a version that had no lapse as one in which no absence of before leads to a lapse.

    Members have been absent for one decided cycle at most, so that their grace begins anew. It is not 0, since a member
    that has been absent for long would then count as gone just now, and if half of them are, that is a hold.
    """
    agents = {
        agent: memory._replace(absent=1) if memory.absent > 1 else memory for agent, memory in state.agents.items()
    }
    return replace(state, agents=agents)


def abandon(state: State, reached: Publication | None, moved_at: float | None) -> State:
    """Return the state without a published generation that never reached the files; its number is not used again.

    Args:
        state: with that generation as ``published``.
        reached: the last generation that was in the files.
        moved_at: when the last move before that generation was made.
    """
    return replace(state, published=reached, moved_at=moved_at)
