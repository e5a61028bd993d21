"""Weights x exposure -> integer shares, and a publication -> the bytes of the two files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from capital_governor.core.model import WHOLE, Agent, Ppm, Publication, iso_text, ppm

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
    whole = [math.floor(share) for share in exact]
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


def documents(publication: Publication) -> tuple[bytes, bytes]:
    """Return the primary and the override file of a publication: JSON, one agent per line, always the same bytes.

    ``allocations`` is a flat map of name to share in both, and ``sum(allocations) + reserve == 1``. ``withheld`` is
    only there if something is withheld: a publication of a version that withheld nothing keeps its bytes.
    """
    shares = {agent: share / WHOLE for agent, share in publication.shares.items()}
    head = {
        "allocations": shares,
        "reserve": publication.reserve / WHOLE,
        "source": SOURCE,
        "timestamp": iso_text(publication.at),
        "generation": publication.generation,
        "decision_id": publication.decision_id,
        "exposure": publication.exposure,
    }
    more = {
        "min_allocation": publication.min_alloc,
        "max_allocation": publication.max_alloc,
        "floor_scale": publication.floor_scale,
        "reason": publication.reason.value,
        "weights": publication.weights,
        "scores": publication.scores,
    }
    if publication.withheld:
        more["withheld"] = withheld_document(publication)
    common = _lines(head)
    return f"{{\n{common},\n{_lines(more)}\n}}\n".encode(), f"{{\n{common}\n}}\n".encode()


def withheld_document(publication: Publication) -> dict[Agent, float]:
    """Return what is withheld from each agent from which something is, as a part of all capital."""
    return {agent: amount / WHOLE for agent, amount in publication.withheld.items()}


def adopted_document(publication: Publication) -> bytes:
    """Return the primary file, without a generation, for shares that another program published."""
    head = {
        "allocations": publication.weights,
        "source": SOURCE,
        "timestamp": datetime.fromtimestamp(publication.at, UTC).isoformat(),
        "min_allocation": publication.min_alloc,
        "max_allocation": publication.max_alloc,
    }
    return f"{{\n{_lines(head)}\n}}\n".encode()


def _lines(fields: Mapping[str, object]) -> str:
    """As ``json.dumps(fields, indent=2)`` without braces, but ten times as fast, since it uses the C encoder."""
    return ",\n".join(f'  "{key}": {_value(value)}' for key, value in fields.items())


def _value(value: object) -> str:
    if isinstance(value, Mapping) and value:
        body = json.dumps(value, separators=(",\n    ", ": "), allow_nan=False)
        return f"{{\n    {body[1:-1]}\n  }}"
    return json.dumps(value, allow_nan=False)
