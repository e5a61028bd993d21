"""A publication -> the content of the two allocation files. See ``allocations`` for the way back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import TypeAdapter

from capital_governor.core.model import WHOLE, Publication, iso_text
from capital_governor.core.publication import SOURCE, withheld_document

_JSON: Final[TypeAdapter[Any]] = TypeAdapter(Any)


def documents(publication: Publication) -> tuple[bytes, bytes]:
    """Return the primary and the override file of a publication: JSON, one agent per line, always the same bytes.

    ``allocations`` is a flat map of name to share in both, and ``sum(allocations) + reserve == 1``. ``withheld`` is
    only there if something is withheld: a publication of a version that withheld nothing keeps its bytes. Each number
    has the shortest form that reads back the same (0.00005, 1e-6).

    Raises ValueError if a number is not finite.
    """
    override = _json(
        {
            "allocations": {agent: share / WHOLE for agent, share in publication.shares.items()},
            "reserve": publication.reserve / WHOLE,
            "source": SOURCE,
            "timestamp": iso_text(publication.at),
            "generation": publication.generation,
            "decision_id": publication.decision_id,
            "exposure": publication.exposure,
        }
    )
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
    # The primary begins with the fields of the override.
    return override.removesuffix(b"\n}\n") + b"," + _json(more).removeprefix(b"{"), override


def adopted_document(publication: Publication) -> bytes:
    """Return the primary file, without a generation, for shares that another program published."""
    return _json(
        {
            "allocations": publication.weights,
            "source": SOURCE,
            "timestamp": datetime.fromtimestamp(publication.at, UTC).isoformat(),
            "min_allocation": publication.min_alloc,
            "max_allocation": publication.max_alloc,
        }
    )


def _json(fields: Mapping[str, object]) -> bytes:
    for name, value in fields.items():
        numbers = value.values() if isinstance(value, Mapping) else [value]
        if not isinstance(value, str) and not math.isfinite(sum(numbers)):
            raise ValueError(f"{name} has a number that JSON cannot say")
    return _JSON.dump_json(fields, indent=2) + b"\n"
