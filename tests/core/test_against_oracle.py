"""The decision against a second reading of its rules, over random days of random fleets."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest

from capital_governor.contracts.allocation_files import adopted_document, documents
from capital_governor.contracts.allocations import read_primary
from capital_governor.core.adoption import adopt
from capital_governor.core.decision import commit, decide
from capital_governor.core.gate import gate
from capital_governor.core.model import (
    WHOLE,
    Publication,
    State,
)
from capital_governor.core.reason import GATE_REFUSALS, Reason
from capital_governor.journal.codec import decode, encode
from tests.oracle.comparison import as_published, assert_same
from tests.oracle.decision import Oracle
from tests.oracle.sight import Observation
from tests.oracle.translation import inputs_of, rules_of
from tests.oracle.weather import NAMES, Weather, changed_settings, some_settings

pytestmark = pytest.mark.no_cover  # thousands of sequences, which tracing slows down several times

SEQUENCES: Final = int(os.environ.get("ORACLE_SEQUENCES", "2000"))
FIRST_SEED: Final = int(os.environ.get("ORACLE_FIRST_SEED", "0"))
AT_A_TIME: Final = 500
PARTS: Final = range(FIRST_SEED, FIRST_SEED + SEQUENCES, AT_A_TIME)
"""Several tests, for a process on each core."""

ORDERS: Final = (
    "accept",
    "cap",
    "cap that is shared out",
    "exposure",
    "floor",
    "for everybody",
    "hold",
    "release",
    "taken back",
)
RESTARTS: Final = ("with other settings", "journal lost", "journal of before", "on a file that withholds")


def found_file(rng: random.Random, now: float) -> Publication:
    """Return a primary file such as a start may find, without metrics behind it."""
    names = rng.sample(NAMES, rng.randint(1, 6))
    exposure = rng.choice((1.0, 1.0, 0.8, 0.5, 0.25))
    weights = {name: rng.choice((0.0, 0.05, 0.4, rng.random())) / len(names) for name in names}
    shares = {name: int(weight * exposure * WHOLE) for name, weight in sorted(weights.items())}
    return Publication(
        generation=rng.randint(0, 9),
        decision_id="found",
        at=now - 300,
        reason=Reason.THRESHOLD,
        shares=shares,
        reserve=WHOLE - sum(shares.values()),
        weights=weights,
        exposure=exposure,
        scores={},
        min_alloc=0.05,
        max_alloc=0.4,
    )


@dataclass(slots=True)
class Tally:
    """What was met. ``undecided``: sequences given up where a millionth decided whether a threshold was met."""

    reasons: Counter[Reason] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    """What was ordered for cycles that held."""
    restarts: Counter[str] = field(default_factory=Counter)
    publications: int = 0
    off_by_a_millionth: int = 0
    undecided: int = 0


def run(seed: int, tally: Tally) -> None:
    """Run one sequence, oracle beside program; the oracle goes on from what the program published.

    The state is stored and read back after every cycle.
    """
    rng = random.Random(seed)  # noqa: S311 - the days must be the same in every run
    settings, weather, last = some_settings(rng), Weather(rng), None
    state, oracle = State(), Oracle()
    journals = [(state, oracle.copy())]
    if rng.random() < 0.25:
        state = found_at_start(state, oracle, found_file(rng, weather.now))
    for _ in range(rng.randint(5, 45)):
        if rng.random() < 0.05:
            settings = changed_settings(settings, rng)
            tally.restarts["with other settings"] += 1
            if rng.random() < 0.4:
                state, oracle = restarted(state, rng.choice((journals[0], journals[-1])), tally)
        if rng.random() < 0.1:
            journals.append((state, oracle.copy()))
        seen, rules = weather.next(), rules_of(settings)
        inputs = inputs_of(seen)
        decision = decide(inputs, state, rules)
        expected = oracle.step(seen, settings)
        counts = (oracle.asked, oracle.moved_at) == (decision.after.asked, decision.after.moved_at)
        if expected.close and (decision.reason not in expected.reasons or not counts):
            tally.undecided += 1
            return
        try:
            tally.off_by_a_millionth += assert_same(expected, decision)
            assert gate(decision, inputs, state, rules) is None
            assert counts, (oracle.asked, oracle.moved_at)
            after = commit(decision)
            assert after.published == (decision.proposal or state.published)
            stored = decode(State, encode(after))
            assert stored == after
        except AssertionError as error:
            error.add_note(f"seed {seed}\ninputs {inputs}\nstate {state}\nrules {rules}\ndecision {decision}")
            raise
        tally.reasons[decision.reason] += 1
        tally.held.update(ordered(seen, last) if expected.hold else ())
        if decision.proposal is not None:
            tally.publications += 1
            oracle.published = as_published(decision.proposal)
        state, last = stored, seen


def found_at_start(state: State, oracle: Oracle, found: Publication) -> State:
    """Adopt a file that a start finds, in the program's state, which is returned, and in the oracle."""
    oracle.adopt(as_published(found), found.at)
    return adopt(state, found)


def restarted(state: State, journal: tuple[State, Oracle], tally: Tally) -> tuple[State, Oracle]:
    """Start on this journal, an empty one or one of before, and on the file of what is published now."""
    then, oracle = journal[0], journal[1].copy()
    tally.restarts["journal lost" if then == State() else "journal of before"] += 1
    newest, known = state.published, -1 if then.published is None else then.published.generation
    if newest is None or newest.generation <= known:
        return then, oracle
    found = read_primary(documents(newest)[0] if newest.generation else adopted_document(newest))
    assert isinstance(found, Publication), found
    tally.restarts["on a file that withholds"] += bool(found.withheld)
    return found_at_start(then, oracle, found), oracle


def ordered(seen: Observation, last: Observation | None) -> Iterator[str]:
    """Yield what the operator has ordered since the last cycle."""
    old = () if last is None else last.operator_limits
    for limit in set(seen.operator_limits) - set(old):
        if limit.cap < 1:
            yield "cap that is shared out" if limit.share_out else "cap"
        if limit.floor > 0:
            yield "floor"
        if limit.agent == "*":
            yield "for everybody"
    words = {
        "accept": seen.accept,
        "exposure": seen.ceiling != (None if last is None else last.ceiling),
        "hold": seen.operator_hold_until is not None and (last is None or last.operator_hold_until is None),
        "release": bool(seen.release),
        "taken back": bool(set(old) - set(seen.operator_limits)),
    }
    yield from (word for word, said in words.items() if said)


@pytest.mark.parametrize("first", PARTS)
def test_every_answer_is_the_one_that_a_second_reading_of_the_rules_gives(first: int) -> None:
    """Over random days of random fleets the program answers each cycle as an independent reading of the rules does."""
    seeds, tally = range(first, min(first + AT_A_TIME, FIRST_SEED + SEQUENCES)), Tally()
    for seed in seeds:
        run(seed, tally)
    print(len(seeds), "sequences,", tally.reasons.total(), "cycles:", tally)  # noqa: T201 - the figure of this test
    assert tally.off_by_a_millionth <= 5 + tally.publications // 200
    assert tally.undecided <= 5
    # These are the gate's own words, or the cycle's: nothing that a decision answers.
    elsewhere = GATE_REFUSALS | {Reason.INTERNAL_ERROR}
    met: Counter[str] = Counter(tally.reasons) + tally.held + tally.restarts
    words = [*ORDERS, *RESTARTS, *set(Reason) - elsewhere]
    rare = {word: met[word] for word in words if met[word] < len(seeds) // AT_A_TIME}
    assert not rare, f"the random fleets hardly meet {rare} any more"
