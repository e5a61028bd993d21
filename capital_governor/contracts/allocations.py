"""The content of an allocation file -> a publication, or why it is not one of the governor's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import jiter

from capital_governor.contracts.instants import instant
from capital_governor.contracts.text import clean, valid_name
from capital_governor.core.model import WHOLE, Agent, Ppm, Publication, ppm
from capital_governor.core.publication import SOURCE
from capital_governor.core.reason import Reason


@dataclass(frozen=True, slots=True)
class NotOurs:
    """Why the content of a primary file is not the governor's: one printable clause."""

    detail: str


LARGEST_KNOWN: Final = 2**52
"""Half of the largest whole number that all JSON readers hold exactly."""
ROUNDED: Final = 0.00005
"""The largest rounding error of the previous program, which rounded each share to four decimals."""

MOST_AGENTS: Final = 10_000
_LONGEST_ID: Final = 200
_MOST_WEIGHT: Final = 1 + 1e-6  # a share divided by a small exposure overshoots by its rounding


def read_primary(content: bytes) -> Publication | NotOurs:
    """Return the publication in a primary file, or why it is not the governor's.

    A file without ``generation`` is the previous program's. It gets generation 0 and exposure 1, and its shares are
    scaled down to a sum of 1 if that program's rounding made them more.
    """
    try:
        document = load_object(content)
        return _publication(document) if "generation" in document else _adopted(document)
    except ValueError as error:
        return NotOurs(clean(str(error)))


def generation_of(content: bytes) -> int:
    """Return the generation in an allocation file of the governor; 0 if it is not the governor's or has none.

    A huge number counts as none, so that a file of another program cannot use up the numbers that are exact in JSON.
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
    """Return the ``source`` in an allocation file, printable and short; empty if it has none."""
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
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the content is wrong, not a type of ours
    return document


def _publication(document: dict[str, Any]) -> Publication:
    parts = _shares(document)
    reserve = _number(document, "reserve")
    weights, scores = (_numbers(document, name, _MOST_WEIGHT) for name in ("weights", "scores"))
    low, high = _number(document, "min_allocation"), _number(document, "max_allocation")
    exposure, floor_scale = _number(document, "exposure"), _number(document, "floor_scale")
    generation, decision_id, at = (
        document["generation"],
        document.get("decision_id"),
        instant(document.get("timestamp")),
    )
    if type(generation) is not int or not 1 <= generation < 2**53:
        raise ValueError("generation is not a whole number from 1 to 2**53")
    if not isinstance(decision_id, str) or not 1 <= len(decision_id) <= _LONGEST_ID or not decision_id.isprintable():
        raise ValueError("decision_id is no printable text")
    if at is None:
        raise ValueError("timestamp is no time")
    reason = next((known for known in Reason if known == document.get("reason")), None)
    if reason is None:
        raise ValueError("reason is none that is known")
    _check_names(scores)
    if weights.keys() != parts.keys():
        raise ValueError("weights and allocations name different agents")
    if low > high:
        raise ValueError("min_allocation is above max_allocation")
    shares = {name: _millionths(share) for name, share in parts.items()}
    deployed, kept = sum(shares.values()), _millionths(reserve)
    if deployed + kept != WHOLE:
        raise ValueError("allocations and reserve do not add up to 1")
    withheld = _withheld(document)
    if not withheld.keys() <= shares.keys():
        raise ValueError("withheld names an agent that allocations do not")
    if deployed + sum(withheld.values()) > ppm(1.0, exposure):
        raise ValueError("allocations and what is withheld are more than exposure allows")
    return Publication(
        generation=generation,
        decision_id=decision_id,
        at=at,
        reason=reason,
        shares=shares,
        reserve=kept,
        weights=weights,
        exposure=exposure,
        scores=scores,
        min_alloc=low,
        max_alloc=high,
        floor_scale=floor_scale,
        withheld=withheld,
    )


def _withheld(document: dict[str, Any]) -> dict[Agent, Ppm]:
    """Return what is withheld from each agent; nothing if the file does not say. Raises ValueError."""
    found = _numbers(document, "withheld") if "withheld" in document else {}
    return {agent: amount for agent, part in found.items() if (amount := _millionths(part))}


def _adopted(document: dict[str, Any]) -> Publication:
    weights = _shares(document)
    if not weights:
        raise ValueError("allocations are empty: there is nothing to adopt")
    total = math.fsum(weights.values())
    if total > 1 + ROUNDED * len(weights) + 1e-6:
        raise ValueError(f"allocations add up to {total:.6f}, more than 1 and what rounding explains")
    if total > 1 + 1e-6:
        weights = {name: weight / total for name, weight in weights.items()}
    shares = {name: ppm(weight, 1.0) for name, weight in weights.items()}
    excess = sum(shares.values()) - WHOLE
    if excess > 0:  # float rounding may give a millionth too much
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


def _shares(document: dict[str, Any]) -> dict[Agent, float]:
    """Return the shares of a file with the governor's source. Raises ValueError."""
    if document.get("source") != SOURCE:
        raise ValueError(f"source is not {SOURCE}")
    shares = _numbers(document, "allocations")
    _check_names(shares)
    return shares


def _numbers(document: dict[str, Any], name: str, most: float = 1.0) -> dict[Agent, float]:
    found = document.get(name)
    if not isinstance(found, dict) or len(found) > MOST_AGENTS:
        raise ValueError(f"{name} is no object of at most {MOST_AGENTS:,} agents")
    for agent, value in found.items():
        if type(value) not in (int, float) or not 0 <= value <= most:
            raise ValueError(f"{name}: {agent} is not a number from 0 to 1")
    return {agent: float(value) for agent, value in found.items()}


def _number(document: dict[str, Any], name: str) -> float:
    value: Any = document.get(name)
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(f"{name} is not a number from 0 to 1")
    return float(value)


def _millionths(share: float) -> Ppm:
    whole = round(share * WHOLE)
    if abs(share - whole / WHOLE) > 1e-9:  # noqa: PLR2004 - allows float rounding only
        raise ValueError("a share is not a multiple of a millionth")
    return whole


def _check_names(names: Iterable[Agent]) -> None:
    for name in names:
        if not valid_name(name):
            raise ValueError(f"{clean(name, 80)!r} is no agent's name")


def _ratio(value: object, default: float) -> float:
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else default  # type: ignore[operator,arg-type]
