"""Profiles: sets of defaults that one setting turns on. A variable that is set itself beats them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

PROFILES: Final[Mapping[str, Mapping[str, Any]]] = {
    "original": {},
    "steady": {"cooldown_seconds": 21_600.0, "confirm_cycles": 12, "probation_cycles": 288},
}
"""By name, the values by field of ``Settings`` that differ from the defaults."""
