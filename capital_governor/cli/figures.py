"""Shares, times and durations as the commands show them."""

from __future__ import annotations

from pathlib import Path

from capital_governor.contracts.instants import read_instant


def percent(share: float | None) -> str:
    """Return a share, 0..1, in percent; empty for None."""
    return "" if share is None else f"{share:.2%}"


def signed_percent(change: float | None) -> str:
    """Return the change of a share in percent with its sign; empty for none."""
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
    return "at an unknown time" if at is None else f"{span(now - at.earliest)} ago"


def span(seconds: float) -> str:
    """Return a duration in its two largest units; it is negative if the clock was set back."""
    whole = abs(int(seconds))
    units = (("d", whole // 86_400), ("h", whole // 3_600 % 24), ("min", whole // 60 % 60), ("s", whole % 60))
    first = next((place for place, (_, count) in enumerate(units) if count), len(units) - 1)
    said = [f"{count} {unit}" for unit, count in units[first : first + 2] if count] or ["0 s"]
    return ("-" if seconds <= -1 else "") + " ".join(said)
