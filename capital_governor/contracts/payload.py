"""The dashboard's payload: bytes -> Snapshot or Refusal.

A payload that is wrong as a whole is a Refusal. If only one agent's record is wrong, that is a fault of this agent, and
the others are used. Nothing here reads a clock or a file: the same bytes always give the same result, except for times
without a zone, which depend on the local time zone (see ``instants``).
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import starmap
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any, Final

import jiter
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from capital_governor.contracts.instants import Instant, read_instant
from capital_governor.contracts.text import NAME, RESERVED_NAMES, clean, escape_name
from capital_governor.core.model import Guardian, Metrics, Refusal, Regime, Snapshot
from capital_governor.core.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_PERCENT: Final = 100.0
_PROBLEM_CHARACTERS: Final = 160
_NAME_RULE: Final = "the name is not 1 to 64 of A-Z a-z 0-9 space _ . : - with a letter or digit first"
_EXPECTED: Final[Mapping[str, str]] = {
    "pnl_7d": "within -1e12..1e12",
    "winrate_30d": "within 0..1",
    "max_dd_30d": "0 or above",
    "guardian.drawdown": "0 or above",
    "market_regime.risk_multiplier": "within 0..10",
}


_STRICT: Final = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore", hide_input_in_errors=True)


class _Record(TypedDict):
    __pydantic_config__ = _STRICT  # type: ignore[misc]  # pydantic needs it here; mypy allows only fields

    pnl_7d: Annotated[float, Field(ge=-1e12, le=1e12)]
    sharpe_30d: float
    winrate_30d: Annotated[float, Field(ge=0, le=1)]
    max_dd_30d: Annotated[float, Field(ge=0)]


_SCORED: Final = itemgetter(*Metrics._fields)
_RECORD: Final = TypeAdapter(_Record)
_RECORDS: Final = TypeAdapter(dict[str, _Record])


class _Strict(BaseModel):
    model_config = _STRICT


class _Guardian(_Strict):
    is_paused: bool
    drawdown: Annotated[float, Field(ge=0)] | None = None
    reason: Any = None


class _Regime(_Strict):
    regime: Any = None
    risk_multiplier: Annotated[float, Field(ge=0, le=10)] | None = None
    timestamp: Any = None


class _UnusableError(ValueError):
    """The payload cannot be used; the text is the refusal's detail."""


def parse(body: bytes, *, max_agents: int = 10_000) -> Snapshot | Refusal:
    """Parse one payload of ``/meta/metrics``.

    Args:
        body: the payload as it came, UTF-8.
        max_agents: more agents than this are refused.

    Returns:
        The snapshot, its mappings sorted by name; or a Refusal with reason PAYLOAD_REFUSED. Never raises.
    """
    try:
        return _snapshot(_document(body), max_agents)
    except _UnusableError as error:
        return Refusal(Reason.PAYLOAD_REFUSED, str(error))


def _document(body: bytes) -> dict[str, Any]:
    """Parse strict JSON: UTF-8 without a byte-order mark, no duplicate keys, no lone surrogates, at most 200 levels.

    NaN and Infinity are accepted here, since as a metric they are a fault of one agent only.
    """
    try:
        document = jiter.from_json(body, catch_duplicate_keys=True, cache_mode="keys")
    except ValueError as error:
        raise _UnusableError(f"the payload is not strict JSON: {clean(str(error))}") from None
    if not isinstance(document, dict):
        raise _UnusableError(f"the payload is {_shown(document)}, not an object")
    return document


# --- values ----------------------------------------------------------------------------------------------------------


def _snapshot(document: dict[str, Any], max_agents: int) -> Snapshot:
    if error := document.get("error"):
        raise _UnusableError(f"the dashboard reports an error: {clean(error) or _shown(error)}")
    agents = document.get("per_agent")
    if not isinstance(agents, dict):
        found = _shown(agents) if "per_agent" in document else "missing"
        raise _UnusableError(f"per_agent is {found}, not an object of agents: another schema")
    if len(agents) > max_agents:
        raise _UnusableError(f"the payload has {len(agents)} agents, more than {max_agents}")
    stamp = _timestamp(document.get("timestamp"))
    regime, odd = _regime(document.get("market_regime"))
    metrics, faults = _sift(agents)
    warnings = [*_zone_warnings("timestamp", stamp), *odd]
    warnings.extend(
        f"{agent}: max_dd_30d is above 100 percent, counted as the worst drawdown"
        for agent, good in metrics.items()
        if good.max_dd_30d > _MAX_PERCENT
    )
    return Snapshot(
        at=None if stamp is None else stamp.earliest,
        metrics=metrics,
        faults=faults,
        guardian=_guardian(document.get("guardian")),
        regime=regime,
        warnings=tuple(warnings),
        at_note=_stamp_note(stamp),
    )


def _timestamp(stamp: object) -> Instant | None:
    if stamp is None:
        return None
    if not isinstance(stamp, str):
        raise _UnusableError(f"timestamp is {_shown(stamp)}, not a string")
    found = read_instant(stamp)
    if found is None:
        raise _UnusableError(f"timestamp is {_shown(stamp)}, not an ISO 8601 time")
    return found


def _zone_warnings(field: str, stamp: Instant | None) -> list[str]:
    if stamp is None or not stamp.naive:
        return []
    how = "the older of UTC and this machine's local time" if stamp.ambiguous else "UTC"
    return [f"{field} has no time zone and counts as {how}: let its producer write an offset or Z"]


def _stamp_note(stamp: Instant | None) -> str:
    """Return why a time stamp without a zone may look old, and the remedy; empty if its zone does not matter."""
    if stamp is None or not stamp.ambiguous:
        return ""
    if stamp.earliest_is_utc:
        return "timestamp has no time zone, and it is so old if taken as UTC: let the producer write its offset"
    return (
        "timestamp has no time zone, and it is so old if taken as local time: let the producer write Z or +00:00, or "
        "start the governor with TZ=UTC"
    )


def _sift(agents: dict[str, Any]) -> tuple[dict[str, Metrics], dict[str, str]]:
    metrics: dict[str, Metrics] = {}
    faults: dict[str, str] = {}
    names = sorted(filter(NAME.fullmatch, agents))
    if len(names) < len(agents):
        faults = {escape_name(name): _NAME_RULE for name in agents.keys() - set(names)}
    folded = Counter(map(str.casefold, names))
    disputed = len(folded) < len(names) or not RESERVED_NAMES.isdisjoint(folded)
    if not disputed and (sound := _all_sound(agents)) is not None:
        records = map(sound.__getitem__, names)
        metrics = dict(zip(names, starmap(Metrics, map(_SCORED, records)), strict=True))
        return metrics, dict(sorted(faults.items()))
    for name in names:
        fold = name.casefold()
        if fold in RESERVED_NAMES:
            faults[name] = f"the name {name} is reserved"
        elif folded[fold] > 1:
            faults[name] = "another agent has the same name but for case"
        elif isinstance(good := _metrics(agents[name]), Metrics):
            metrics[name] = good
        else:
            faults[name] = good
    return metrics, dict(sorted(faults.items()))


def _all_sound(agents: dict[str, Any]) -> dict[str, _Record] | None:
    """Return all records, validated in one call, the common case; None if any of them is faulty."""
    try:
        return _RECORDS.validate_python(agents)
    except ValidationError:
        return None


def _metrics(record: object) -> Metrics | str:
    if not isinstance(record, dict):
        return f"the record is {_shown(record)}, not an object"
    try:
        return _good(_RECORD.validate_python(record))
    except ValidationError as error:
        return _fault(error, "", clean(record.get("problem"), _PROBLEM_CHARACTERS).strip())


def _good(record: _Record) -> Metrics:
    return Metrics(*_SCORED(record))


def _guardian(block: object) -> Guardian | None:
    if block is None:
        return None
    if not isinstance(block, dict):
        raise _UnusableError(f"guardian is {_shown(block)}, not an object")
    try:
        good = _Guardian.model_validate(block)
    except ValidationError as error:
        raise _UnusableError(_fault(error, "guardian.")) from None
    return Guardian(is_paused=good.is_paused, drawdown_percent=good.drawdown, reason=clean(good.reason))


def _regime(block: object) -> tuple[Regime | None, list[str]]:
    """Return the regime, and warnings about its time stamp."""
    if block is None:
        return None, []
    if not isinstance(block, dict):
        raise _UnusableError(f"market_regime is {_shown(block)}, not an object")
    try:
        good = _Regime.model_validate(block)
    except ValidationError as error:
        raise _UnusableError(_fault(error, "market_regime.")) from None
    stamp = read_instant(good.timestamp)
    odd = _zone_warnings("market_regime.timestamp", stamp)
    if stamp is None and good.timestamp is not None:
        odd = [f"market_regime.timestamp is {_shown(good.timestamp)}, not an ISO 8601 time: its age is unknown"]
    at = None if stamp is None else stamp.earliest
    return Regime(name=clean(good.regime), risk_multiplier=good.risk_multiplier, at=at), odd


# --- texts -----------------------------------------------------------------------------------------------------------


def _fault(error: ValidationError, prefix: str, cause: str = "") -> str:
    """Return what is wrong, and the ``cause`` that the producer gave."""
    problem = error.errors(include_url=False, include_context=False)[0]
    field, value = f"{prefix}{problem['loc'][0]}", _shown(problem["input"])
    match problem["type"]:
        case "missing":
            fault = f"{field} is missing"
        case "finite_number":
            fault = f"{field} is {value}"
        case "float_type" if type(problem["input"]) is int:
            fault = f"{field} is {value}, too large"
        case "float_type" if problem["input"] is None and cause:
            fault = f"{field} is null"
        case kind:
            expected = {"float_type": "a number", "bool_type": "true or false"}.get(kind) or _EXPECTED[field]
            fault = f"{field} is {value}, not {expected}"
    return f"{fault}: {cause}" if cause else fault


def _shown(value: object) -> str:
    """Return a JSON value as text, cut to about 40 characters."""
    match value:
        case str():
            return f'"{clean(value, 40)}"'
        case dict() | list():
            return "an object" if isinstance(value, dict) else "a list"
        case int() if abs(value) >= 10**40:
            return "an integer of more than 40 digits"
        case _:
            return json.dumps(value)
