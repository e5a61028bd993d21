"""Durations as people write them: 90s, 15m, 2h, 7d, 1w, or several from large to small, as in 1h30m."""

from __future__ import annotations

import re
from typing import Final

LONGEST_SECONDS: Final = 366 * 86_400.0
_UNITS: Final = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_DURATION: Final = re.compile("".join(rf"(?:([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?){unit})?" for unit in _UNITS))


def read_duration(text: str) -> float | None:
    """Return the seconds of a duration, 0 or more; None if the text is none."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        return None
    return sum(float(count) * _UNITS[unit] for count, unit in zip(match.groups(), _UNITS, strict=True) if count)


def duration_seconds(text: str) -> float:
    """Return the seconds that the duration of an order means.

    Raises:
        ValueError: it is not a duration, is 0, or is longer than LONGEST_SECONDS; the text is to follow the value.
    """
    seconds = read_duration(text)
    if seconds is None:
        raise ValueError("is not a duration: write 90s, 15m, 2h, 7d, 1w, or several such as 1h30m")
    if seconds <= 0:
        raise ValueError("is no time at all: give a duration above 0, such as 2h")
    if seconds > LONGEST_SECONDS:
        raise ValueError("is longer than 366d: leave it out for an order that stands until it is taken back")
    return seconds
