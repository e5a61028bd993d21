"""The content of an allocation file -> the publication it stands for, or why it is none of ours."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import jiter
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from capital_governor.contracts.instants import instant
from capital_governor.contracts.text import clean, valid_name
from capital_governor.core.model import WHOLE, Agent, Ppm, Publication, ppm
from capital_governor.core.publication import SOURCE
from capital_governor.core.reason import Reason


@dataclass(frozen=True, slots=True)
class NotOurs:
    """Why the content of a primary is not a publication of ours: one printable clause."""

    detail: str


LARGEST_KNOWN: Final = 2**52
"""Half of the numbers that JSON readers hold exactly."""
ROUNDED: Final = 0.00005
"""By how much a share of the previous program may be off: it rounded each to four decimals."""

_Ratio = Annotated[float, Field(ge=0, le=1)]
_Weight = Annotated[float, Field(ge=0, le=1 + 1e-6)]  # a share divided by a small exposure overshoots by its rounding


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, hide_input_in_errors=True, defer_build=True)

    source: Literal["capital_governor"]
    allocations: dict[Agent, _Ratio] = Field(max_length=10_000)


class _Primary(_Document):
    reserve: _Ratio
    timestamp: str
    min_allocation: _Ratio
    max_allocation: _Ratio
    generation: int = Field(ge=1, lt=2**53)
    decision_id: str = Field(min_length=1, max_length=200)
    reason: Reason = Field(strict=False)
    exposure: _Ratio
    weights: dict[Agent, _Weight] = Field(max_length=10_000)
    scores: dict[Agent, _Weight] = Field(max_length=10_000)
    floor_scale: _Ratio


def read_primary(content: bytes) -> Publication | NotOurs:
    """Return the publication that the content of a primary file stands for, or why it is none of ours.

    Without ``generation`` it is the previous program's: generation 0, exposure 1, shares as they are, or scaled down to
    1 where that program's rounding made them more.
    """
    try:
        document = load_object(content)
        return _publication(document) if "generation" in document else _adopted(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return NotOurs(clean(f"{'.'.join(map(str, first['loc']))}: {first['msg']}"))
    except ValueError as error:
        return NotOurs(clean(str(error)))


def generation_of(content: bytes) -> int:
    """Return the generation that a file of ours carries, primary or override; 0 if it is not ours or has none.

    A rival's signature must not use up the numbers that JSON readers hold exactly, so a huge one counts as none.
    """
    try:
        document = load_object(content)
    except ValueError:
        return 0
    generation = document.get("generation")
    if document.get("source") != SOURCE or type(generation) is not int:
        return 0
    return generation if 1 <= generation <= LARGEST_KNOWN else 0


def source_of(content: bytes) -> str:
    """Return the ``source`` that an allocation file names, printable and short; empty if it names none."""
    try:
        return clean(load_object(content).get("source"), 40)
    except ValueError:
        return ""


def load_object(content: bytes) -> dict[str, Any]:
    """Return a JSON object of UTF-8 without duplicate keys. Raises ValueError on anything else."""
    try:
        document = jiter.from_json(content, catch_duplicate_keys=True, cache_mode="keys")
    except ValueError as error:
        raise ValueError(f"it is not strict JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - content is at fault, not the caller's type
    return document


def _publication(document: dict[str, Any]) -> Publication:
    primary = _Primary.model_validate(document)
    _check_consistent(primary)
    at = instant(primary.timestamp)
    if at is None:
        raise ValueError("timestamp is no time")
    shares = {name: _millionths(share) for name, share in primary.allocations.items()}
    reserve = _millionths(primary.reserve)
    if sum(shares.values()) + reserve != WHOLE:
        raise ValueError("allocations and reserve do not add up to 1")
    if sum(shares.values()) > ppm(1.0, primary.exposure):
        raise ValueError("allocations deploy more than exposure allows")
    return Publication(
        generation=primary.generation,
        decision_id=primary.decision_id,
        at=at,
        reason=primary.reason,
        shares=shares,
        reserve=reserve,
        weights=primary.weights,
        exposure=primary.exposure,
        scores=primary.scores,
        min_alloc=primary.min_allocation,
        max_alloc=primary.max_allocation,
        floor_scale=primary.floor_scale,
    )


def _check_consistent(primary: _Primary) -> None:
    _check_names(primary.allocations)
    _check_names(primary.scores)
    if primary.weights.keys() != primary.allocations.keys():
        raise ValueError("weights and allocations name different agents")
    if primary.min_allocation > primary.max_allocation:
        raise ValueError("min_allocation is above max_allocation")
    if not primary.decision_id.isprintable():
        raise ValueError("decision_id is not printable")


def _adopted(document: dict[str, Any]) -> Publication:
    weights = _Document.model_validate(document).allocations
    _check_names(weights)
    if not weights:
        raise ValueError("allocations are empty: there is nothing to adopt")
    total = math.fsum(weights.values())
    if total > 1 + ROUNDED * len(weights) + 1e-6:
        raise ValueError(f"allocations add up to {total:.6f}, more than 1 and what rounding explains")
    if total > 1 + 1e-6:
        weights = {name: weight / total for name, weight in weights.items()}
    shares = {name: ppm(weight, 1.0) for name, weight in weights.items()}
    excess = sum(shares.values()) - WHOLE
    if excess > 0:  # the dust of floats makes a millionth or so too much
        shares[max(shares, key=lambda name: shares[name])] -= excess
    low, high = _ratio(document.get("min_allocation"), 0.0), _ratio(document.get("max_allocation"), 1.0)
    return Publication(
        generation=0,
        decision_id="adopted",
        at=instant(document.get("timestamp")) or 0.0,
        reason=Reason.FIRST_ALLOCATION,
        shares=shares,
        reserve=WHOLE - sum(shares.values()),
        weights=weights,
        exposure=1.0,
        scores={},
        min_alloc=low if low <= high else 0.0,
        max_alloc=high if low <= high else 1.0,
    )


def _millionths(share: float) -> Ppm:
    whole = round(share * WHOLE)
    if abs(share - whole / WHOLE) > 1e-9:  # noqa: PLR2004 - room for the last digits of a float, not for another unit
        raise ValueError("a share is not a multiple of a millionth")
    return whole


def _check_names(names: Iterable[Agent]) -> None:
    for name in names:
        if not valid_name(name):
            raise ValueError(f"{clean(name, 80)!r} is no agent's name")


def _ratio(value: object, default: float) -> float:
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else default  # type: ignore[operator,arg-type]
