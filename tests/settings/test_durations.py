"""Durations as people write them."""

from __future__ import annotations

import pytest

from capital_governor.settings.durations import LONGEST_SECONDS, duration_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7_200),
        ("7d", 604_800),
        ("1w", 604_800),
        ("1h30m", 5_400),
        ("1w2d3h4m5s", 604_800 + 2 * 86_400 + 3 * 3_600 + 4 * 60 + 5),
        ("1.5h", 5_400),
        ("0.5s", 0.5),
        ("0h1s", 1),
        ("90m", 5_400),
        ("366d", 366 * 86_400),
    ],
)
def test_what_people_write(text: str, seconds: float) -> None:
    """Units from weeks to seconds, each at most once, large before small; decimals too."""
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *((text, "not a duration") for text in ("", "soon", "2", "h", "2 h", "2H", "-2h", "+2h", "1e3s", "30m1h")),
        *(
            (text, "not a duration")
            for text in ("1h1h", "2h\n", "٣h", "nans", "infs", ".5h", "1.h", "1_0s", "2y", "9" * 10 + "s")
        ),
        *((text, "no time at all") for text in ("0s", "0h0m", "0.0d")),
        *((text, "longer than 366d") for text in ("367d", "999999999w", "366d1s")),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    """Whatever else it is, zero included, is refused and the message says why."""
    with pytest.raises(ValueError, match=why):
        duration_seconds(text)


def test_the_longest_is_a_leap_year() -> None:
    """Beyond a year an order without an end says more clearly what is meant."""
    assert LONGEST_SECONDS == 366 * 86_400
