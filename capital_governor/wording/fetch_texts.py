"""The detail of a failed fetch of the metrics in two parts: what happened, and what a person can do about it. Pure."""

from __future__ import annotations

import re
from typing import Final

_EXPLAINED: Final = re.compile(r"TLS failed with |HTTP [0-9]{3} from \S+(?:, a redirect, which is not followed)?: ")
"""Begins a detail that has its cause and remedy in one."""


def fetch_problem(detail: str) -> str:
    """Return what happened, without what to do about it.

    Args:
        detail: ``what happened; what to do``, as ``adapters/dashboard.py`` writes it.
    """
    return detail if _EXPLAINED.match(detail) else detail.partition("; ")[0]


def fetch_act(detail: str) -> str:
    """Return what a person can do about it; ``detail`` as in ``fetch_problem``."""
    if _EXPLAINED.match(detail):
        return "put right what it says, or correct NEOLIGHT_DASHBOARD_URL"
    return detail.partition("; ")[2] or "start the dashboard, or correct NEOLIGHT_DASHBOARD_URL"
