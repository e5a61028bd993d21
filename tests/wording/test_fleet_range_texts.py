"""How far scores can move a weight, as `check` and `once` tell it."""

from __future__ import annotations

import pytest

from capital_governor.core.fleet_range import fleet_range
from capital_governor.core.model import Rules
from capital_governor.wording.fleet_range_texts import fleet_range_text


@pytest.mark.parametrize(
    ("agents", "own", "said"),
    [
        (
            1,
            {},
            (
                "With 1 agent and a 40 % cap it sits at the cap and 60 % stays idle, whatever it scores."
                " Raise CAPITAL_GOVERNOR_MAX_ALLOC to 1"
            ),
        ),
        (
            2,
            {},
            (
                "With 2 agents and a 40 % cap both sit at the cap and 20 % stays idle, whatever they score."
                " Raise CAPITAL_GOVERNOR_MAX_ALLOC above 0.5"
            ),
        ),
        (
            3,
            {"max_alloc": 0.3},
            (
                "With 3 agents and a 30 % cap all sit at the cap and 10 % stays idle, whatever they score."
                " Raise CAPITAL_GOVERNOR_MAX_ALLOC above 0.34"
            ),
        ),
        (
            3,
            {"max_alloc": 0.35},
            (
                "With 3 agents and a 35 % cap each stays between 30 % and 35 %, whatever they score."
                " Raise CAPITAL_GOVERNOR_MAX_ALLOC"
            ),
        ),
        (
            25,
            {},
            "With 25 agents and a 5 % floor all sit at 4 %, whatever they score. Lower CAPITAL_GOVERNOR_MIN_ALLOC",
        ),
        (4, {}, "With 4 agents within 0.05 and 0.40, scores can move a weight between 0.0500 and 0.4000"),
    ],
)
def test_why_scores_move_nothing(agents: int, own: dict[str, float], said: str) -> None:
    """Which limit keeps all where they are, how much stays idle, and which setting to change to what."""
    rules = Rules(**own)  # type: ignore[arg-type]
    assert fleet_range_text(fleet_range(agents, rules), rules) == said
