"""The oracle gives in hand-made cases what the rules are meant to give there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from tests.oracle.examples import EXAMPLES
from tests.oracle.scenarios import Result, Scenario, play

MILLION = 1_000_000


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
def test_the_oracle_gives_what_the_rules_are_meant_to_give(example: Callable[[], tuple[Scenario, Result]]) -> None:
    """The last cycle ends as it should, with these shares, withheld parts and exposure."""
    scenario, result = example()
    oracle, outcomes = play(scenario.events)
    published, last = oracle.published, outcomes[-1]
    assert published is not None
    assert last.kind == result.kind
    assert last.reasons <= result.reasons
    assert four_digits(published.shares) == result.shares
    assert four_digits(published.withheld) == result.withheld
    assert published.exposure == pytest.approx(result.exposure, abs=1e-12)
    assert sum(published.shares.values()) + published.reserve == MILLION
    later = outcomes if "first_allocation" not in outcomes[0].reasons else outcomes[1:]
    if result.moves is not None:
        assert sum(outcome.kind == "move" for outcome in later) == result.moves
    if result.publications is not None:
        assert sum(outcome.published is not None for outcome in later) == result.publications


def four_digits(shares: Mapping[str, int]) -> dict[str, float]:
    return {name: round(share / MILLION, 4) for name, share in shares.items()}
