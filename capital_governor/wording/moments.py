"""Times and lengths of time in words, the same in messages and commands. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from capital_governor.core.model import DAY_SECONDS


def minute_text(at: float) -> str:
    """Return a moment to the minute: ``2025-11-03 22:05 UTC``."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def moment_text(at: float, now: float) -> str:
    """Return a moment for a sentence: only its clock time within a day of ``now``."""
    return minute_text(at) if abs(at - now) >= DAY_SECONDS else minute_text(at).partition(" ")[2]


def duration_text(seconds: float, *, exact: bool = False) -> str:
    """Return a length of time: ``40 s``, ``14 min``, ``2 h 5 min``, ``3 days 4 h``; ``0 s`` for a negative one.

    Args:
        seconds: its length.
        exact: with the seconds below one hour: ``4 min 12 s``.
    """
    minutes, seconds = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days = hours // 24
    if days >= 2:  # noqa: PLR2004 - below that the hours are easier to read
        large, small = f"{days} days", f"{hours % 24} h" if hours % 24 else ""
    elif hours:
        large, small = f"{hours} h", f"{minutes} min" if minutes else ""
    elif minutes:
        large, small = f"{minutes} min", f"{seconds} s" if exact and seconds else ""
    else:
        large, small = f"{seconds} s", ""
    return f"{large} {small}".rstrip()


def after_text(seconds: float | None) -> str:
    """Return `` after 14 min``; nothing for a length of time that is not known."""
    return "" if seconds is None else f" after {duration_text(seconds)}"
