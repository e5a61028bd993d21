"""What reduces exposure is told as a cause, in percent, the same to the phone and by the commands."""

from __future__ import annotations

from typing import Any

import pytest

from capital_governor.wording.exposure_texts import exposure_cause


@pytest.mark.parametrize(
    ("exposure", "text"),
    [
        ({"value": 1.0}, "nothing reduces it"),
        ({"value": 0.5, "by": "regime", "origin": "payload", "raw": 0.5, "name": "BEAR"}, "market BEAR (risk 0.5)"),
        ({"value": 0.5, "by": "regime", "origin": "payload", "raw": 0.5}, "market risk 0.5"),
        (
            {"value": 0.5, "by": "regime", "origin": "last known"},
            "market risk 0.5, last known: the dashboard does not send it now",
        ),
        (
            {"value": 0.5, "by": "regime", "origin": "stale payload", "raw": 0.5, "name": "BEAR"},
            "market BEAR (risk 0.5), though its detector is silent",
        ),
        ({"value": 0.25, "by": "drawdown", "origin": "payload", "raw": 20.0}, "Guardian drawdown 20 %"),
        ({"value": 0.9, "by": "reserve", "origin": "setting"}, "the setting MIN_RESERVE keeps 10 %"),
        (
            {
                "value": 0.3,
                "by": "operator",
                "origin": "order",
                "author": "anna",
                "until": None,
                "order_reason": "night",
            },
            "anna's order of at most 30 % (night)",
        ),
        (
            {"value": 0.3, "by": "operator", "origin": "order", "author": "anna", "until": 7200.0, "order_reason": ""},
            "anna's order of at most 30 % until 1970-01-01 02:00 UTC",
        ),
    ],
)
def test_what_sets_exposure(exposure: dict[str, Any], text: str) -> None:
    """Market, drawdown, setting, order; and whether it is known now."""
    assert exposure_cause(exposure) == text
