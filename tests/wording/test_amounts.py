"""Shares in percent, and names: one form in messages and commands."""

from __future__ import annotations

import pytest

from capital_governor.wording.amounts import change_text, names_text, percent_text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        *((0.0, "0 %"), (1.0, "100 %"), (0.5, "50 %"), (0.2931, "29.3 %"), (0.3, "30 %"), (0.0996, "10 %")),
        *((0.0099, "0.99 %"), (0.0025, "0.25 %"), (0.00001, "0 %"), (-0.05, "-5 %"), (-0.00001, "0 %")),
        *((0, "0 %"), (1_000_000, "100 %"), (293_100, "29.3 %"), (2_500, "0.25 %"), (1, "0 %")),
    ],
)
def test_percent(share: float, text: str) -> None:
    """One digit, two below one percent; no digit that is 0. An integer is in millionths."""
    assert percent_text(share) == text


def test_a_change() -> None:
    """From and to, the sign once."""
    assert change_text(0.2931, 0.146) == change_text(293_100, 146_000) == "29.3 -> 14.6 %"


def test_many_names() -> None:
    """Five, and how many more; those with the largest shares first where shares are given."""
    assert names_text(["B"]) == "B"
    assert names_text(list("BACDEFG")) == "B, A, C, D, E and 2 more"
    assert names_text(list("BACDEFG"), {"G": 2, "F": 3, "A": 1}) == "F, G, A, B, C and 2 more"
