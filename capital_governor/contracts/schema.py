"""JSON Schema (draft 2020-12) of the two allocation files and the status file, for those who check what they read.

A schema cannot say that ``sum(allocations) + reserve == 1``; all else that holds of each field alone stands here. Other
fields may stand beside these in later versions, so none is forbidden.
"""

from __future__ import annotations

from typing import Any, Final

from capital_governor.core.orders import OrderKind
from capital_governor.core.publication import SOURCE
from capital_governor.core.reason import CUTS, MOVES, Reason

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_LARGEST_EXACT: Final = 2**53 - 1
"""The largest whole number that every JSON reader holds exactly."""

# A share divided by a small exposure overshoots by its rounding to millionths.
_WEIGHT: Final = {"type": "number", "minimum": 0, "maximum": 1 + 1e-6}


def _ratio(description: str) -> dict[str, Any]:
    return {"type": "number", "minimum": 0, "maximum": 1, "description": description}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _time(description: str) -> dict[str, Any]:
    pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"
    return {"type": "string", "format": "date-time", "pattern": pattern, "description": f"{description}, UTC"}


def _count(description: str, minimum: int = 0) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum, "maximum": _LARGEST_EXACT, "description": description}


def _by_agent(value: dict[str, Any], description: str) -> dict[str, Any]:
    names = {"minLength": 1}
    return {"type": "object", "propertyNames": names, "additionalProperties": value, "description": description}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"type": [schema["type"], "null"]}


_REASONS: Final = [reason.value for reason in Reason]
_PUBLISHING: Final = [reason.value for reason in Reason if reason in MOVES | CUTS]

_BOTH: Final = {
    "allocations": _by_agent(
        {"type": "number", "minimum": 0, "maximum": 1},
        "agent to share of all capital; with the reserve they add up to 1",
    ),
    "reserve": _ratio("the share of nobody"),
    "source": {"const": SOURCE, "description": "who wrote this; accept no other"},
    "timestamp": _time("when this was decided; stays until shares move"),
    "generation": _count("one more with each move or cut; numbers may be skipped", 1),
    "decision_id": _text("time and generation, for people") | {"minLength": 1, "maxLength": 200},
    "exposure": _ratio("part of all capital that may be deployed"),
}
_PRIMARY: Final = _BOTH | {
    "min_allocation": _ratio("CAPITAL_GOVERNOR_MIN_ALLOC at that time"),
    "max_allocation": _ratio("CAPITAL_GOVERNOR_MAX_ALLOC at that time"),
    "floor_scale": _ratio("1, or by what the floors were multiplied to fit"),
    "reason": {"enum": _PUBLISHING, "description": "why it moved"},
    "weights": _by_agent(_WEIGHT, "agent to part of what is deployed"),
    "scores": _by_agent(_WEIGHT, "agent to score"),
}
_ORDER: Final = {
    "key": _text("what names this order") | {"minLength": 1},
    "text": _text("the order in words"),
    "order": {"enum": [kind.value for kind in OrderKind], "description": "what is ordered"},
    "agent": _or_null(_text("whom a limit is for")),
    "max": _or_null(_ratio("cap on its weight")),
    "min": _or_null(_ratio("floor of its weight")),
    "accepts": _or_null(_text("the hold that an accept is for")),
    "author": _text("who gave it"),
    "reason": _text("why"),
    "given_at": _time("when"),
    "until": _or_null(_time("when it expires")),
}
_LATCHES: Final = {
    "paused": {"type": "boolean", "description": "a pause goes on until a fresh complete payload"},
    "guardian_seen": {"type": "boolean", "description": "a payload without guardian block has lost it"},
    "timestamp_seen": {"type": "boolean", "description": "a payload without time stamp has lost it"},
}
_STATUS: Final = {
    "state": _text("what the governor does") | {"enum": ["starting", "governing", "holding", "ended"]},
    "reason": {"enum": [None, *_REASONS], "description": "of the last cycle"},
    "message": _or_null(_text("the reason's sentence")),
    "detail": _text("the facts of a hold"),
    "exit": _text("what ends the hold"),
    "timestamp": _time("of the last completed cycle"),
    "valid_until": _time("take the governor for dead after this"),
    "last_success": _or_null(_time("when the last usable payload came")),
    "failures_in_row": _count("cycles since then without one"),
    "generation": _or_null(_count("of what is published; 0 for another program's that was adopted")),
    "published_at": _or_null(_time("when that was decided")),
    "published_reason": {"enum": [None, *_PUBLISHING], "description": "and why"},
    "agents": _or_null(_count("how many have a line")),
    "reserve": _or_null(_ratio("the share of nobody")),
    "exposure": _or_null(_ratio("part of all capital that may be deployed")),
    "floor_scale": _or_null(_ratio("below 1 where the floors did not fit")),
    "orders": {
        "type": "array",
        "items": {"type": "object", "properties": _ORDER, "required": list(_ORDER)},
        "description": "the operator's, in force",
    },
    "latches": {
        "type": "object",
        "properties": _LATCHES,
        "required": list(_LATCHES),
        "description": "what holds remember",
    },
    "multipliers": _by_agent(
        {"type": "number", "minimum": 0, "maximum": 1}, "the last known exposure multipliers by name"
    ),
    "warnings": {"type": "array", "items": {"type": "string"}, "description": "of the last cycle"},
    "journal_problem": _text("why the journal cannot be written; empty if it can"),
    "journal_dropped": _count("cycles that an outage of the journal cost, since the start"),
    "log_failures": _count("log lines that could not be written"),
    "heartbeat_failures": _count("requests to HEARTBEAT_URL that failed since the start"),
    "heartbeat_problem": _text("why the last one failed; empty if it did not"),
    "notices_pending": _count("Telegram messages that wait"),
    "notices_pending_detail": _text("why the oldest could not be sent; empty if it was not tried yet"),
    "notices_refused": _count("those that Telegram refused for good"),
    "notices_refused_detail": _text("why it refused the last"),
    "dry_run": {"type": "boolean", "description": "whether it is one"},
    "pid": _count("process number"),
    "version": _text("of the program"),
}

SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    name: {
        "$schema": _DIALECT,
        "$id": f"urn:capital-governor:{name}",
        "title": title,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }
    for name, title, properties in (
        ("primary", "runtime/capital_governor_allocations.json", _PRIMARY),
        ("override", "runtime/allocations_override.json as the governor writes it", _BOTH),
        ("status", "runtime/capital_governor_status.json", _STATUS),
    )
}
"""By name of the file, its schema as a JSON document."""
