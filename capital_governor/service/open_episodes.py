"""What the journal knows of episodes that are still on, for a new process or one with new settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from capital_governor.core.model import Agent
from capital_governor.core.reason import AGENT_HOLDS, CUTS, GATE_REFUSALS, HOLDS, PAYLOAD_HOLDS, Reason
from capital_governor.journal.protocol import Journal
from capital_governor.journal.turns import Turn

METRICS: Final = "degraded"
AGENTS: Final = "unwell"
FILES: Final = "files"

CYCLES_BACK: Final = 10_000
"""So many cycles are looked back, to see since when a hold has been on."""
TURNS_BACK: Final = 200
"""So many turns are looked back, to see since when an agent has been faulty or silent."""
SHORTEST_GAP_SECONDS: Final = 3_600.0
"""A shorter time without a cycle, or one of three intervals, does not count as a time without a governor."""


@dataclass(frozen=True, slots=True)
class OpenEpisodes:
    """Episodes that an earlier process has seen begin.

    Args:
        told: by topic, when the operator was last told that it is on, in seconds since 1970 UTC.
        since: when the holds at the end of the journal began, by topic, as far as that is known.
        agents_since: since when agents are faulty or silent, as far as that is known.
    """

    told: Mapping[str, float] = field(default_factory=dict)
    since: Mapping[str, float] = field(default_factory=dict)
    agents_since: Mapping[Agent, float] = field(default_factory=dict)


NONE_OPEN: Final = OpenEpisodes()


def open_episodes(journal: Journal, book: str, now: float, interval_seconds: float) -> OpenEpisodes:
    """Return the episodes that are open at the end of a book.

    Nobody knows whether they went on while no governor ran. What was told before goes on, and all else begins anew.
    """
    since = now - CYCLES_BACK * interval_seconds
    told, timeline = journal.open_topics(), journal.timeline(book, since)
    governed = _governed_since(timeline, now, max(SHORTEST_GAP_SECONDS, 3 * interval_seconds))
    holds, agents = _holds_since(timeline), _unwell_since(journal.turns(book, since, TURNS_BACK))
    told_at = told.get(AGENTS, -math.inf)
    return OpenEpisodes(
        told,
        {topic: at if topic in told else max(at, governed) for topic, at in holds.items()},
        {agent: at if at <= told_at else max(at, governed) for agent, at in agents.items()},
    )


def _governed_since(timeline: Sequence[tuple[float, Reason]], now: float, longest_seconds: float) -> float:
    """Return since when cycles have followed each other up to now, without a longer time between two."""
    later = now
    for at, _ in reversed(timeline):
        if later - at > longest_seconds:
            break
        later = at
    return later


def _holds_since(timeline: Sequence[tuple[float, Reason]]) -> dict[str, float]:
    """Return since when the holds at the end of a timeline have been on, by topic.

    Args:
        timeline: time and reason of each cycle, oldest first.
    """
    found: dict[str, float] = {}
    for at, reason in reversed(timeline):
        if reason in CUTS:  # published in a hold, or not: the cycle before tells
            continue
        if reason not in HOLDS | GATE_REFUSALS:
            break
        topic = METRICS if reason in PAYLOAD_HOLDS else FILES if reason is Reason.FILES_UNWRITABLE else reason.value
        found[topic] = at
    return found


def _unwell_since(turns: Sequence[Turn]) -> dict[Agent, float]:
    """Return since when the agents that are faulty or silent at the end of these turns have been so.

    Args:
        turns: oldest first. A cycle between two of them has the same agents as the turn before it.
    """
    found: dict[Agent, float] = {}
    still: set[Agent] | None = None
    for turn in reversed(turns):
        if not turn.facts or (turn.hold is not None and turn.hold not in AGENT_HOLDS):
            continue  # that cycle has not come as far as the agents
        unwell = {agent for name in ("faulty", "absent", "lapsed") for agent in turn.facts.get(name, ())}
        still = unwell if still is None else still & unwell
        if not still:
            break
        found |= dict.fromkeys(still, turn.at)
    return found
