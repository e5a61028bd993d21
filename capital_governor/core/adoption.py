"""How the state follows what is found on disk at a start: a file to adopt, or a generation to abandon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from capital_governor.core.membership import adopted
from capital_governor.core.model import REGIME, Latches, Publication, State


def adopt(state: State, found: Publication) -> State:
    """Return the state after a valid primary file was found that the journal does not know: it is what is published.

    Its agents are members of long standing, its exposure the last known regime if none was ever known.
    """
    return replace(
        state,
        published=found,
        generation=max(state.generation, found.generation),
        agents=adopted(state.agents, found.shares.keys()),
        multipliers={REGIME: found.exposure} | dict(state.multipliers),
        moved_at=found.at,
    )


def recall(state: State, told: Latches, multipliers: Mapping[str, float]) -> State:
    """Return the state after a later one than the journal's was told of elsewhere.

    Of the latches only what keeps a hold is taken from there: a pause that still wants its fresh complete payload, a
    guardian block or time stamp whose absence is a loss. The multipliers are later ones than the state has.
    """
    known = state.latches
    latches = replace(
        known,
        paused=known.paused or told.paused,
        guardian_seen=known.guardian_seen or told.guardian_seen,
        timestamp_seen=known.timestamp_seen or told.timestamp_seen,
    )
    return replace(state, latches=latches, multipliers={**state.multipliers, **multipliers})


def abandon(state: State, reached: Publication | None) -> State:
    """Return the state after a generation that no agent ever saw was given up; its number is not used again.

    Args:
        state: with that generation as ``published``.
        reached: the last one that the agents did see.
    """
    return replace(state, published=reached, moved_at=None if reached is None else reached.at)
