"""Times and lengths of time: one form in messages and commands."""

from __future__ import annotations

from typing import Final

import pytest

from capital_governor.wording.moments import duration_text, moment_text

AT: Final = 1_762_207_500.0  # 2025-11-03 22:05:00 UTC


@pytest.mark.parametrize(
    ("seconds", "text", "exact"),
    [
        (-5.0, "0 s", "0 s"),
        (0.0, "0 s", "0 s"),
        (59.9, "59 s", "59 s"),
        (60.0, "1 min", "1 min"),
        (252.0, "4 min", "4 min 12 s"),
        (3_600.0, "1 h", "1 h"),
        (7_512.0, "2 h 5 min", "2 h 5 min"),
        (172_799.0, "47 h 59 min", "47 h 59 min"),
        (172_800.0, "2 days", "2 days"),
        (273_600.0, "3 days 4 h", "3 days 4 h"),
    ],
)
def test_a_length_of_time(seconds: float, text: str, exact: str) -> None:
    """In one or two units, the seconds of minutes only where they count; nothing shorter than none."""
    assert duration_text(seconds) == text
    assert duration_text(seconds, exact=True) == exact


def test_a_moment() -> None:
    """The clock time, and the date where it is a day away or more."""
    assert moment_text(AT, AT + 86_399.0) == moment_text(AT, AT - 86_399.0) == "22:05 UTC"
    assert moment_text(AT, AT + 86_400.0) == moment_text(AT, AT - 86_400.0) == "2025-11-03 22:05 UTC"
