"""A file that is adopted at a start, and a generation that is given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capital_governor.core.adoption import abandon, adopt, recall, taken_over
from capital_governor.core.model import DRAWDOWN, REGIME, Latches, Memory, State
from capital_governor.core.reason import Reason
from tests.rigs.builders import INTERVAL, NOW, PLAIN, cycle, observe, publication, rated, settled, shares_of

FOUND = publication({"Ada": 200_000, "Bob": 300_000}, 0.5, generation=7)


def test_an_adopted_file_is_what_is_published() -> None:
    """Its shares, its time and its generation are taken over, and its agents are members of long standing."""
    state = adopt(State(), FOUND)
    assert state.published == FOUND
    assert (state.generation, state.moved_at) == (7, NOW - INTERVAL)
    assert state.agents == {"Ada": Memory(tenured=True, pin=0.4), "Bob": Memory(tenured=True, pin=0.6)}


def test_a_generation_number_is_never_used_again() -> None:
    """A higher number that was once used is kept, whatever the file says."""
    assert adopt(State(generation=9), FOUND).generation == 9
    assert adopt(State(generation=3), FOUND).generation == 7


def test_its_exposure_is_the_last_known_regime_only_if_there_was_none() -> None:
    """What the dashboard once said beats what a file implies."""
    assert adopt(State(), FOUND).multipliers == {REGIME: 0.5}
    known = State(multipliers={REGIME: 0.8, DRAWDOWN: 0.9})
    assert adopt(known, FOUND).multipliers == {REGIME: 0.8, DRAWDOWN: 0.9}


def test_what_is_known_of_its_agents_is_kept() -> None:
    """Members keep metrics and counts; the retired are members again; others stay as they are."""
    ada = Memory(healthy=1, absent=2)
    retired = Memory(member=False, retired_at=NOW - 1000.0)
    state = adopt(State(agents={"Ada": ada, "Bob": retired, "Zed": retired}, metrics={"Ada": rated(0.5)}), FOUND)
    assert state.agents == {"Ada": ada, "Bob": Memory(tenured=True, pin=0.6), "Zed": retired}
    assert list(state.agents) == ["Ada", "Bob", "Zed"]
    assert state.metrics == {"Ada": rated(0.5)}


def test_the_first_cycle_after_an_adoption_asks_what_any_cycle_asks() -> None:
    """Nothing is a first allocation: a fleet that stands as it should stays, and a regime unknown is the file's."""
    # Scores 2 to 3 with caps of 0.40: both weights are 0.40, at the file's exposure of 0.5 a share of 0.20 each.
    # Bob's 0.30 is above 0.40 * 0.5.
    decision, state = cycle(observe({"Ada": 0.2, "Bob": 0.3}, risk=None), adopt(State(), FOUND))
    assert decision.reason is Reason.LIMIT_BREACHED
    assert shares_of(state) == {"Ada": 200_000, "Bob": 200_000}
    assert state.generation == 8


def test_adopted_agents_have_no_probation() -> None:
    """The first good record of an agent of an adopted file is not that of a new one."""
    rules = replace(PLAIN, probation_cycles=5)
    decision, _ = cycle(observe({"Ada": 0.2, "Bob": 0.3}), adopt(State(), FOUND), rules)
    assert [bound.hi for bound in decision.trace.limits.values()] == [0.4, 0.4]


def test_what_an_adopted_file_withholds_is_withheld_and_pins_are_those_of_its_plan() -> None:
    """Ada's plan line is 0.20 + 0.05 at an exposure of 0.5, so its weight stays 0.5, and 0.20 is its share."""
    found = replace(FOUND, withheld={"Ada": 50_000})
    state = adopt(State(), found)
    assert state.published is not None
    assert state.published.plan == {"Ada": 250_000, "Bob": 300_000}
    assert (state.agents["Ada"].pin, state.agents["Bob"].pin) == (0.5, 0.6)
    idle = adopt(State(), replace(publication({"Ada": 0}, 0.0), weights={"Ada": 0.3}))
    assert idle.agents["Ada"].pin == 0.3


def test_a_state_of_a_version_without_lapses_starts_each_grace_anew() -> None:
    """Absences of before count as one cycle: not as none, since the agent has not gone just now."""
    agents = {"Ada": Memory(absent=3), "Bob": Memory(absent=1), "Cyd": Memory()}
    state = State(agents=agents, generation=4)
    assert taken_over(state) == replace(state, agents=agents | {"Ada": Memory(absent=1)})


def test_an_abandoned_generation_leaves_its_number_used() -> None:
    """What the agents last saw is published again; the number given up is skipped."""
    reached = publication({"Ada": 400_000, "Bob": 350_000, "Cyd": 250_000}, generation=1)
    state = replace(settled(), published=publication({"Ada": 1}, generation=2), generation=2)
    state = abandon(state, reached, NOW - 900.0)
    assert state.published == reached
    assert (state.generation, state.moved_at) == (2, NOW - 900.0)
    decision, _ = cycle(observe({"Ada": 0.5, "Bob": 0.2, "Cyd": 0.3}), state)
    assert decision.proposal is not None
    assert decision.proposal.generation == 3


def test_a_first_generation_that_is_abandoned_leaves_nothing_published() -> None:
    """Then the next decision is the first allocation again."""
    state = abandon(settled(), None, None)
    assert (state.published, state.moved_at) == (None, None)
    assert cycle(observe(), state)[0].reason is Reason.FIRST_ALLOCATION


def test_an_abandoned_generation_changes_no_pin() -> None:
    """The pin is the weight in the adopted file, whatever was decided since and given up."""
    adopted = adopt(State(), FOUND)
    later = replace(adopted, published=publication({"Bob": 1}, generation=9))
    assert abandon(later, FOUND, adopted.moved_at) == adopted


@pytest.mark.parametrize("exposure", [0.5, 0.0])
def test_one_that_a_later_file_does_not_name_is_held_at_nothing(exposure: float) -> None:
    """A member of an earlier file, never seen healthy, has neither metrics nor a line: its weight is 0."""
    later = publication({"Ada": round(400_000 * exposure)}, exposure, generation=8)
    decision, _ = cycle(observe({"Ada": 0.2}, faulty=["Bob"]), adopt(adopt(State(), FOUND), later))
    assert decision.trace.limits["Bob"].hi == 0.0


def test_of_latches_told_elsewhere_only_what_keeps_a_hold_is_recalled() -> None:
    """A pause and blocks once seen are added to what is known; nothing known is taken away, nothing accepted comes."""
    known = State(latches=Latches(guardian_seen=True, gone_cycles=2, accepted=("Ada",)), generation=4)
    told = Latches(paused=True, timestamp_seen=True, gone_cycles=7, accepted=("Bob",))
    expected = Latches(paused=True, guardian_seen=True, timestamp_seen=True, gone_cycles=2, accepted=("Ada",))
    assert recall(known, told, {}) == State(latches=expected, generation=4)
    assert recall(known, Latches(), {}) == known


def test_multipliers_told_of_later_take_the_place_of_those_known() -> None:
    """The last known value of each counts; one that nothing is told of stays."""
    known = State(multipliers={REGIME: 0.8, DRAWDOWN: 0.9})
    assert recall(known, Latches(), {DRAWDOWN: 0.25}).multipliers == {REGIME: 0.8, DRAWDOWN: 0.25}
    assert adopt(recall(State(), Latches(), {REGIME: 1.0, DRAWDOWN: 0.5}), FOUND).multipliers == {
        REGIME: 1.0,
        DRAWDOWN: 0.5,
    }
