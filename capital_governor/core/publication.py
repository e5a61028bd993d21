"""Weights x exposure -> integer shares, and parts of what is published."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from capital_governor.core.model import WHOLE, Agent, Ppm, Publication, ppm

SOURCE: Final = "capital_governor"
"""The value of ``source`` in both files; readers accept no other."""


def integer_shares(
    weights: Mapping[Agent, float],
    caps: Sequence[float],
    exposure: float,
    group: Sequence[int] = (),
    group_caps: Sequence[float] = (),
) -> dict[Agent, Ppm]:
    """Round ``weights x exposure`` to millionths by largest remainder.

    In all, ``floor(sum(w) * exposure * 1e6)`` millionths are deployed. Each agent gets its product rounded down. What
    is left goes, one millionth each, to the largest fractions that stay within ``ppm(cap, exposure)``, the agent's and
    its group's, ties by name. What no cap allows is not deployed.

    Args:
        weights: by agent.
        caps: of the agents, in the order of ``weights``.
        exposure: 0..1.
        group: of the agents, in the same order: positions in ``group_caps``, -1 for an agent without a group.
        group_caps: on the sum of a group's weights.
    """
    exact = [weight * exposure * WHOLE for weight in weights.values()]
    whole = list(map(math.floor, exact))
    shares = dict(zip(weights, whole, strict=True))
    missing = ppm(math.fsum(weights.values()), exposure) - sum(whole)
    if missing <= 0:
        return shares
    limits = {cap: ppm(cap, exposure) for cap in set(caps)}
    fractions = sorted(
        (floor - share, agent)
        for agent, share, floor, cap in zip(weights, exact, whole, caps, strict=True)
        if floor < limits[cap]
    )
    if not group_caps:
        for _, agent in fractions[:missing]:
            shares[agent] += 1
        return shares
    of = dict(zip(weights, group, strict=True))
    room = [ppm(cap, exposure) for cap in group_caps]
    for number, share in zip(group, whole, strict=True):
        if number >= 0:
            room[number] -= share
    for _, agent in fractions:
        number = of[agent]
        if missing > 0 and (number < 0 or room[number] > 0):
            shares[agent] += 1
            missing -= 1
            if number >= 0:
                room[number] -= 1
    return shares


def decision_id(now: float, generation: int) -> str:
    """Return the name of a generation for people: its UTC time and number, ``20251103T220000Z-41``."""
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}-{generation}"


def withheld_document(publication: Publication) -> dict[Agent, float]:
    """Return what is withheld from each agent from which something is, as a part of all capital."""
    return {agent: amount / WHOLE for agent, amount in publication.withheld.items()}
