"""Allocation files as tests build them: ours with a generation, and the previous program's without."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

NOON = 1_762_171_200.0  # 2025-11-03T12:00:00Z


def document(**changes: object) -> dict[str, Any]:
    """Build a sound primary of ours; a change to ``...`` takes the key out."""
    whole: dict[str, Any] = {
        "allocations": {"SmartTrader": 0.32, "DropshipAgent": 0.2},
        "reserve": 0.48,
        "source": "capital_governor",
        "timestamp": "2025-11-03T12:00:00Z",
        "min_allocation": 0.05,
        "max_allocation": 0.40,
        "generation": 41,
        "decision_id": "d-41",
        "reason": "threshold",
        "exposure": 0.8,
        "weights": {"SmartTrader": 0.4, "DropshipAgent": 0.25},
        "scores": {"SmartTrader": 0.7, "DropshipAgent": 0.35},
        "floor_scale": 1.0,
    } | changes
    return {key: value for key, value in whole.items() if value is not ...}


def previous(**changes: object) -> dict[str, Any]:
    """Build what the previous program wrote: no generation."""
    whole: dict[str, Any] = {
        "allocations": {"SmartTrader": 0.4, "DropshipAgent": 0.1234567},
        "source": "capital_governor",
        "timestamp": "2025-11-03T12:00:00",
        "min_allocation": 0.05,
        "max_allocation": 0.45,
    } | changes
    return {key: value for key, value in whole.items() if value is not ...}


def encoded(content: Mapping[str, object]) -> bytes:
    return json.dumps(content).encode()


SETTLED: Final = {"Ada": 0.4, "Bob": 0.36, "Cyd": 0.24}
"""What the previous program published: just what the default scores come to."""


def previous_program(root: Path, allocations: dict[str, float], **more: Any) -> bytes:
    """Write the primary of the program that was here before, which numbers no generations."""
    content = json.dumps(
        {
            "allocations": allocations,
            "source": "capital_governor",
            "timestamp": "2025-11-03T21:55:00Z",
            "min_allocation": 0.05,
            "max_allocation": 0.40,
        }
        | more
    ).encode()
    path = root / "runtime" / "capital_governor_allocations.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return content
