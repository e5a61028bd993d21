"""Hand-made cases of silence, caps, ceilings, groups and holds, run on the program; the oracle is run on the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from capital_governor.core.adoption import adopt
from capital_governor.core.decision import commit, decide
from capital_governor.core.gate import gate
from capital_governor.core.model import WHOLE, Publication, State
from capital_governor.core.reason import MOVES, Reason
from capital_governor.core.trace import Decision
from capital_governor.journal.codec import decode, encode
from tests.oracle.comparison import kind_of
from tests.oracle.examples import EXAMPLES
from tests.oracle.scenarios import Found, Result, Scenario, Turn
from tests.oracle.sight import Published
from tests.oracle.translation import inputs_of, rules_of


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
def test_the_program_gives_what_the_rules_are_meant_to_give(example: Callable[[], tuple[Scenario, Result]]) -> None:
    """The last cycle ends as it should, with these shares, withheld parts and exposure; no gate refuses anything.

    The state is stored and read back between any two cycles.
    """
    scenario, result = example()
    state, decisions = run(scenario)
    published, last = state.published, decisions[-1]
    assert published is not None
    assert kind_of(last.reason) == result.kind
    assert last.reason in result.reasons
    assert four_digits(published.shares) == result.shares
    assert four_digits(published.withheld) == result.withheld
    assert published.exposure == pytest.approx(result.exposure, abs=1e-12)
    later = decisions if decisions[0].reason is not Reason.FIRST_ALLOCATION else decisions[1:]
    if result.moves is not None:
        assert sum(decision.reason in MOVES for decision in later) == result.moves
    if result.publications is not None:
        assert sum(decision.proposal is not None for decision in later) == result.publications


def run(scenario: Scenario) -> tuple[State, list[Decision]]:
    state, decisions = State(), []
    for event in scenario.events:
        if isinstance(event, Turn):
            inputs, rules = inputs_of(event.seen), rules_of(event.settings)
            decision = decide(inputs, state, rules)
            assert gate(decision, inputs, state, rules) is None
            state = decode(State, encode(commit(decision)))
            decisions.append(decision)
        elif isinstance(event, Found):
            state = adopt(state, found_publication(event.published, event.at))
        else:
            assert state.published is not None
            state = adopt(State(), state.published)
    return state, decisions


def found_publication(found: Published, at: float) -> Publication:
    return Publication(
        generation=found.generation,
        decision_id="found",
        at=at,
        reason=Reason.THRESHOLD,
        shares=found.shares,
        reserve=found.reserve,
        weights=found.weights,
        exposure=found.exposure,
        scores={},
        min_alloc=0.05,
        max_alloc=0.4,
        withheld=found.withheld,
    )


def four_digits(shares: Mapping[str, int]) -> dict[str, float]:
    return {name: round(share / WHOLE, 4) for name, share in shares.items()}
