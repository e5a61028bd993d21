"""JSON Schema (draft 2020-12) of the two allocation files and the status file, for programs that read them.

A schema cannot say that ``sum(allocations) + reserve == 1``; it describes each field alone. Unknown fields are allowed,
since later versions may add some.
"""

from __future__ import annotations

from typing import Any, Final

from capital_governor.core.orders import OrderKind
from capital_governor.core.publication import SOURCE
from capital_governor.core.reason import CUTS, MOVES, Reason

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_LARGEST_EXACT: Final = 2**53 - 1
"""The largest whole number that all JSON readers hold exactly."""

# share / exposure may exceed 1 a little, since shares are rounded to millionths.
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
_PUBLISHING: Final = [reason.value for reason in Reason if reason in MOVES | CUTS | {Reason.RESTORE}]

_BOTH: Final = {
    "allocations": _by_agent(
        {"type": "number", "minimum": 0, "maximum": 1},
        "agent to share of all capital; every member has a line, 0 included; with the reserve they add up to 1",
    ),
    "reserve": _ratio("the part of all capital that no agent has"),
    "source": {"const": SOURCE, "description": "who wrote the file; do not use a file of another source"},
    "timestamp": _time("when this was decided (the same until the next move)"),
    "generation": _count("1, 2, 3 ...: one more with each move, cut or restore; numbers may be skipped", 1),
    "decision_id": _text("time and generation, for people") | {"minLength": 1, "maxLength": 200},
    "exposure": _ratio("the part of all capital that may be deployed"),
}
_WITHHELD: Final = _by_agent(
    {"type": "number", "minimum": 0, "maximum": 1},
    "agent to what is withheld from its plan, as a part of all capital; the reserve has it",
)
_PRIMARY: Final = _BOTH | {
    "min_allocation": _ratio("CAPITAL_GOVERNOR_MIN_ALLOC at that time"),
    "max_allocation": _ratio("CAPITAL_GOVERNOR_MAX_ALLOC at that time"),
    "floor_scale": _ratio("1; less where all floors together did not fit: each was multiplied by this"),
    "reason": {"enum": _PUBLISHING, "description": "why it moved"},
    "weights": _by_agent(_WEIGHT, "agent to weight in the plan: its part of what the plan deploys"),
    "scores": _by_agent(_WEIGHT, "agent to score, 0..1"),
    "withheld": _WITHHELD | {"description": f"{_WITHHELD['description']}; not there if nothing is withheld"},
}
_ORDER: Final = {
    "key": _text("identifies the order") | {"minLength": 1},
    "text": _text("the order in words"),
    "order": {"enum": [kind.value for kind in OrderKind], "description": ", ".join(OrderKind)},
    "agent": _or_null(_text("the agent, of a limit or a release; `*`: every agent")),
    "max": _or_null(_ratio("the cap on its weight, of a limit; the largest exposure, of an exposure order")),
    "min": _or_null(_ratio("the floor of its weight, of a limit")),
    "share_out": {"type": "boolean", "description": "what a limit's cap takes is given to the others, not withheld"},
    "accepts": _or_null(_text("the hold that it ends, of an accept")),
    "author": _text("the user who gave it"),
    "reason": _text("why, in the user's words"),
    "given_at": _time("when it was given"),
    "until": _or_null(_time("when it ends (null: not before it is taken back)")),
}
_LATCHES: Final = {
    "paused": {"type": "boolean", "description": "a pause was seen; it lasts until a fresh complete payload ends it"},
    "guardian_seen": {"type": "boolean", "description": "a guardian block was seen; a payload without one has lost it"},
    "timestamp_seen": {"type": "boolean", "description": "a time stamp was seen; a payload without one has lost it"},
}
_STATUS: Final = {
    "state": _text("what the governor does: starting, governing, holding or ended")
    | {"enum": ["starting", "governing", "holding", "ended"]},
    "reason": {"enum": [None, *_REASONS], "description": "the reason of the last cycle"},
    "message": _or_null(_text("the reason in words")),
    "detail": _text("the facts of a hold"),
    "exit": _text("what ends the hold"),
    "timestamp": _time("when the last cycle was completed"),
    "valid_until": _time("when the governor counts as dead (the larger of 60 s and 3 intervals after the cycle)"),
    "interval_seconds": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "time between two cycles of this governor, in seconds",
    },
    "last_success": _or_null(_time("when the last usable payload came")),
    "failures_in_row": _count("cycles since then without a usable payload"),
    "generation": _or_null(_count("the published generation; 0 if it was adopted from another program")),
    "published_at": _or_null(_time("when it was decided")),
    "published_reason": {"enum": [None, *_PUBLISHING], "description": "why it was published"},
    "agents": _or_null(_count("how many agents have a line in the allocation files")),
    "reserve": _or_null(_ratio("the part of all capital that no agent has")),
    "exposure": _or_null(_ratio("the part of all capital that may be deployed")),
    "floor_scale": _or_null(_ratio("1; less where all floors together did not fit")),
    "withheld": _or_null(_WITHHELD),
    "orders": {
        "type": "array",
        "items": {"type": "object", "properties": _ORDER, "required": list(_ORDER)},
        "description": "the operator's orders in force after the last cycle; fields below",
    },
    "latches": {
        "type": "object",
        "properties": _LATCHES,
        "required": list(_LATCHES),
        "description": "what must not be forgotten with a lost journal; fields below",
    },
    "multipliers": _by_agent(
        {"type": "number", "minimum": 0, "maximum": 1},
        "the last known exposure multipliers by name; used where a payload lacks one",
    ),
    "warnings": {"type": "array", "items": {"type": "string"}, "description": "the warnings of the last cycle"},
    "journal_problem": _text("why the journal cannot be written; empty if it can"),
    "journal_dropped": _count("cycles that an outage of the journal lost, since the start"),
    "log_failures": _count("log lines that could not be written"),
    "heartbeat_failures": _count("heartbeats that failed since the start"),
    "heartbeat_problem": _text("why the last heartbeat failed; empty if it did not"),
    "notices_pending": _count("Telegram messages that wait to be sent"),
    "notices_pending_detail": _text("why the oldest of them could not be sent; empty if it was not tried yet"),
    "notices_refused": _count("Telegram messages that were refused for good"),
    "notices_refused_detail": _text("why the last of them was refused"),
    "dry_run": {"type": "boolean", "description": "whether this is a dry run"},
    "pid": _count("the governor's process number"),
    "version": _text("the program's version"),
}

SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    name: {
        "$schema": _DIALECT,
        "$id": f"urn:capital-governor:{name}",
        "title": title,
        "type": "object",
        "properties": properties,
        "required": [field for field in properties if field not in optional],
    }
    for name, title, properties, optional in (
        ("primary", "runtime/capital_governor_allocations.json", _PRIMARY, {"withheld"}),
        ("override", "runtime/allocations_override.json as the governor writes it", _BOTH, set()),
        ("status", "runtime/capital_governor_status.json", _STATUS, set()),
    )
}
"""By name of the file, its schema."""
