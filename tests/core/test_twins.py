"""Silence, faults and a person's caps give capital to nobody: the program beside itself without them."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import pytest

from capital_governor.core.decision import commit, decide
from capital_governor.core.gate import gate
from capital_governor.core.model import Agent, Inputs, Ppm, Rules, Snapshot, State
from capital_governor.core.reason import AGENT_HOLDS
from capital_governor.core.trace import Decision
from capital_governor.journal.codec import decode, encode
from tests.oracle.comparison import kind_of
from tests.oracle.scenarios import Scenario, Turn
from tests.oracle.sight import Observation, Settings
from tests.oracle.translation import inputs_of, rules_of
from tests.oracle.twins import pairs

pytestmark = pytest.mark.no_cover  # thousands of cycles, which tracing slows down several times

SEQUENCES: Final = int(os.environ.get("TWIN_SEQUENCES", "120"))
CYCLES: Final = 50

Decider = Callable[[Inputs, State, Rules], Decision]


@dataclass(slots=True)
class Run:
    """One run of the program, whose state is stored and read back after every cycle."""

    decider: Decider = decide
    state: State = field(default_factory=State)

    def step(self, seen: Observation, settings: Settings) -> Decision:
        inputs, rules = inputs_of(seen), rules_of(settings)
        decision = self.decider(inputs, self.state, rules)
        if self.decider is decide:
            assert gate(decision, inputs, self.state, rules) is None
        self.state = decode(State, encode(commit(decision)))
        return decision

    def shares(self) -> Mapping[Agent, Ppm]:
        return {} if self.state.published is None else self.state.published.shares

    def has_line(self, name: str) -> bool:
        return name in self.shares()

    def last_record(self, name: str) -> dict[str, float] | None:
        metrics = self.state.metrics.get(name)
        return None if metrics is None else metrics._asdict()


def first_difference(seeds: Iterable[int], decider: Decider, kinds: Counter[str]) -> tuple[int, int] | None:
    """Return the first sequence and cycle in which anybody else has another share beside the victim; None if none."""
    for seed in seeds:
        untouched, touched = Run(decider), Run(decider)
        rng = random.Random(seed)  # noqa: S311 - the same days in every run
        for number, pair in enumerate(pairs(rng, untouched, CYCLES)):
            if pair.is_emptied():
                break
            first = untouched.step(pair.untouched, pair.settings)
            second = touched.step(pair.touched, pair.settings)
            held = {each.trace.hold.reason for each in (first, second) if each.trace.hold is not None}
            if held & AGENT_HOLDS or untouched.state.latches.gone_cycles != touched.state.latches.gone_cycles:
                break
            kinds[kind_of(second.reason)] += 1
            if others(untouched, pair.victim) != others(touched, pair.victim):
                return seed, number
    return None


def others(run: Run, victim: Agent) -> dict[Agent, Ppm]:
    return {agent: share for agent, share in run.shares().items() if agent != victim}


def test_nobody_else_has_another_share_because_one_agent_is_silent_faulty_or_capped() -> None:
    """Beside a run in which all is well with one agent, everyone else has the same share in every cycle."""
    kinds: Counter[str] = Counter()
    assert first_difference(range(SEQUENCES), decide, kinds) is None
    print(SEQUENCES, "sequences:", kinds)  # noqa: T201 - the figure of this test
    assert kinds.total() > SEQUENCES * CYCLES // 4
    assert min(kinds[kind] for kind in ("move", "cut", "restore")) > SEQUENCES // 2, kinds


# --- the same with a decider that is wrong ----------------------------------------------------------------------------


def _retires(inputs: Inputs, state: State, rules: Rules) -> Decision:
    """Share out the part of an agent as soon as its grace is over."""
    return decide(inputs, state, replace(rules, release_after_cycles=0))


def _shares_out_caps(inputs: Inputs, state: State, rules: Rules) -> Decision:
    """Give the others what a cap takes."""
    return decide(
        replace(inputs, limits=tuple(replace(limit, share_out=True) for limit in inputs.limits)), state, rules
    )


def _plans_with_shares(inputs: Inputs, state: State, rules: Rules) -> Decision:
    """Compare with the published shares instead of the plan."""
    published = state.published
    if published is not None:
        state = replace(state, published=replace(published, withheld={}))
    return decide(inputs, state, rules)


def _forgets_metrics(inputs: Inputs, state: State, rules: Rules) -> Decision:
    """Leave the faulty and the absent out of the scores."""
    heard = inputs.payload.metrics if isinstance(inputs.payload, Snapshot) else {}
    agents = {agent: memory if agent in heard else memory._replace(pin=0.0) for agent, memory in state.agents.items()}
    metrics = {agent: seen for agent, seen in state.metrics.items() if agent in heard}
    return decide(inputs, replace(state, agents=agents, metrics=metrics), rules)


@pytest.mark.parametrize("wrong", [_retires, _shares_out_caps, _plans_with_shares, _forgets_metrics])
def test_a_decider_that_gives_it_to_others_is_found(wrong: Decider) -> None:
    """Within a few sequences."""
    assert first_difference(range(SEQUENCES), wrong, Counter()) is not None


# --- the exception ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("silent", "shares"), [(False, [0.4, 0.3, 0.2, 0.1]), (True, [0.4, 0.4, 0.2])])
def test_who_is_silent_before_it_has_a_line_is_retired(silent: bool, shares: list[float]) -> None:
    """CONFIRM_CYCLES 6 delays the first allocation; A is silent for 4 cycles of that, which is longer than its grace.

    There is no plan line of A yet that could be withheld, so A is retired, and the others have all: by their scores
    0.3, 0.2 and 0.1, B would have a half and has MAX_ALLOC; C and D share 0.6 by 2 to 1.
    """
    scenario = Scenario({"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.1})
    scenario.change(confirm_cycles=6)
    scenario.cycles()
    scenario.absent = {"A"} if silent else set()
    scenario.cycles(5)
    run = Run()
    for event in scenario.events:
        assert isinstance(event, Turn)
        run.step(event.seen, event.settings)
    assert [round(share / 1_000_000, 6) for share in run.shares().values()] == shares
