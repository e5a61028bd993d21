"""Shares, times and durations as the commands show them."""

from __future__ import annotations

from pathlib import Path

from capital_governor.contracts.instants import read_instant
from capital_governor.wording.moments import duration_text


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share, 0..1, in percent for a table; empty for None."""
    return "" if share is None else f"{share:.{digits}%}"


def signed_percent(change: float | None) -> str:
    """Return the change of a share in percent with its sign, for a table; empty for none."""
    return f"{change:+.2%}" if change else ""


def four_digits(value: float | None) -> str:
    """Return a score or weight with four digits; empty for None."""
    return "" if value is None else f"{value:.4f}"


def fleet_text(name: str, root: Path | str) -> str:
    """Return which fleet a command shows."""
    return f"{name}, root {root}"


def ago(iso: str, now: float) -> str:
    """Return in words how long ago a time of the status file was."""
    at = read_instant(iso)
    if at is None:
        return "at an unknown time"
    sign = "-" if now - at.earliest <= -1.0 else ""  # the clock was set back
    return f"{sign}{duration_text(abs(now - at.earliest), exact=True)} ago"
