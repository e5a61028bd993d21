"""Random days of a fleet in which agents are faulty or absent for a while, and what that may change for the others.

The state is stored and read back after every cycle, as if the governor were started anew.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Final, TypeAlias

from capital_governor.core.decision import commit, resolve
from capital_governor.core.model import State
from capital_governor.core.reason import AGENT_HOLDS
from capital_governor.core.trace import Decision
from capital_governor.journal import codec
from tests.oracle.comparison import as_published, assert_same
from tests.oracle.decision import Oracle
from tests.oracle.sight import Observation, Outcome, Payload
from tests.oracle.translation import inputs_of, rules_of
from tests.oracle.weather import Weather, changed_settings, some_settings
from tests.promises.counterfactual import Before, foresee
from tests.promises.ledger import require

SEED: Final = int(os.environ.get("SILENCE_SEED", "0"))
"""Of the first sequence; the next one has the next seed."""

Check: TypeAlias = Callable[[Before, Outcome, Decision], None]
"""Judges one cycle by what was known before it, what the oracle expects, and what the program decides."""


@dataclass(slots=True)
class Tally:
    """What sequences have met.

    Attributes:
        silent: cycles in which a member with a plan line had no good record.
        raised: shares that rose in these cycles.
        lapses: agents that lapsed.
        retired: agents that retired, nearly all of them by a release.
        parted: sequences that end where program and oracle part, which is for ``tests/core/test_against_oracle.py``.
    """

    sequences: int = 0
    cycles: int = 0
    silent: int = 0
    raised: int = 0
    lapses: int = 0
    retired: int = 0
    parted: int = 0

    def add(self, other: Tally) -> None:
        """Add what another sequence has met."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def count(self, before: Before, decision: Decision, lapses: int) -> None:
        """Count a cycle, in which so many agents lapsed."""
        self.cycles += 1
        self.lapses += lapses
        self.retired += len(decision.trace.retired)
        self.silent += bool(before.silent)
        if before.silent and decision.proposal is not None:
            self.raised += sum(share > before.shares.get(name, 0) for name, share in decision.proposal.shares.items())

    def __str__(self) -> str:
        return (
            f"{self.sequences:,} sequences, {self.cycles:,} cycles, {self.silent:,} with silent agents, "
            f"{self.lapses:,} lapses, {self.retired:,} agents retired, {self.raised:,} shares raised meanwhile"
        )


@dataclass(slots=True)
class Silence:
    """Which agents are faulty or absent now, besides what else befalls the fleet.

    Attributes:
        rng: which ones, how and for how long.
        faulty: for how many more cycles, by agent.
        absent: likewise.
    """

    rng: random.Random
    faulty: dict[str, int] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)

    def pass_time(self, names: list[str]) -> None:
        """Let some be over, and perhaps one of ``names`` fall silent."""
        for cycles in (self.faulty, self.absent):
            for name in list(cycles):
                cycles[name] -= 1
                if not cycles[name]:
                    del cycles[name]
        if names and self.rng.random() < 0.2:
            self.rng.choice((self.faulty, self.absent))[self.rng.choice(names)] = self.rng.choice((1, 2, 4, 8, 20))

    def befall(self, seen: Observation) -> Observation:
        """Return what is seen of the fleet while they are silent."""
        if not isinstance(seen.payload, Payload):
            return seen
        records = {
            name: None if name in self.faulty else record
            for name, record in seen.payload.records.items()
            if name not in self.absent
        }
        return replace(seen, payload=replace(seen.payload, records=records))


def beside_the_oracle(seed: int, check: Check) -> Tally:
    """Run one sequence with a check of each cycle; the oracle goes on from what the program published."""
    rng = random.Random(seed)  # noqa: S311 - the same days in every run
    settings, weather, silence = some_settings(rng), _weather(rng), Silence(rng)
    state, oracle, tally = State(), Oracle(), Tally(sequences=1)
    for _ in range(rng.randint(20, 60)):
        if rng.random() < 0.02:
            settings = changed_settings(settings, rng)
        seen = weather.next()
        silence.pass_time(list(weather.records))
        seen = silence.befall(seen)
        before, had_lapsed = foresee(oracle, seen, settings), oracle.fleet.lapsed()
        decision = resolve(inputs_of(seen), state, rules_of(settings))
        expected = oracle.step(seen, settings)
        try:
            check(before, expected, decision)
        except AssertionError as error:
            error.add_note(f"SILENCE_SEED={seed}: {seen}\n{settings}\n{state}\n{decision.reason}")
            raise
        try:
            assert_same(expected, decision)
        except AssertionError:
            tally.parted = 1
            break
        if decision.proposal is not None:
            oracle.published = as_published(decision.proposal)
        tally.count(before, decision, len(oracle.fleet.lapsed() - had_lapsed))
        state = stored(commit(decision))
    return tally


def beside_itself(seed: int) -> int:
    """Run the program twice, with silent agents and without their silence; return for how many cycles.

    All but the agents that are silent at times must have the same shares in both, to the millionth. The runs end where
    one of them holds because of its agents. Probation is off, since silence makes it longer, and nobody is released.
    """
    rng = random.Random(seed)  # noqa: S311 - as above
    settings, weather, silence = replace(some_settings(rng), probation_cycles=0), _weather(rng), Silence(rng)
    names = sorted(weather.records)
    victims = set(rng.sample(names, rng.randint(1, max(1, len(names) // 2))))
    whole, hurt, cycles = State(), State(), 0
    for _ in range(60):
        if rng.random() < 0.02:
            settings = changed_settings(settings, rng)
        settings = replace(settings, release_after=None)
        seen = replace(weather.next(), accept=False, release=frozenset())
        # One that has no plan line has no capital that others could get.
        lines = {} if hurt.published is None else hurt.published.shares
        silence.pass_time(sorted(victims & lines.keys()))
        rules = rules_of(settings)
        first = resolve(inputs_of(_as_last_heard(seen, silence, hurt)), whole, rules)
        second = resolve(inputs_of(silence.befall(seen)), hurt, rules)
        holds = {decision.trace.hold.reason for decision in (first, second) if decision.trace.hold is not None}
        if holds & AGENT_HOLDS:
            break
        whole, hurt = stored(commit(first)), stored(commit(second))
        ours, theirs = (_shares_of_others(state, victims) for state in (whole, hurt))
        told = f"SILENCE_SEED={seed}, cycle {cycles}: {sorted(victims)} were silent"
        require(ours == theirs, f"{told}, and others have {theirs}, else {ours}")
        cycles += 1
    return cycles


def stored(state: State) -> State:
    """Return the state as a start finds it."""
    return codec.decode(State, codec.encode(state))


def _weather(rng: random.Random) -> Weather:
    """Return weather in which few other mishaps keep the fleet from being decided about."""
    weather = Weather(rng)
    weather.onset = rng.choice((0.0, 0.0, 0.005, 0.02))
    return weather


def _as_last_heard(seen: Observation, silence: Silence, state: State) -> Observation:
    """Return what is seen where the last good record of whoever is silent is still there."""
    if not isinstance(seen.payload, Payload):
        return seen
    records = dict(seen.payload.records)
    for name in silence.faulty.keys() | silence.absent.keys():
        if records.get(name) is not None and name in state.metrics:
            records[name] = state.metrics[name]._asdict()
    return replace(seen, payload=replace(seen.payload, records=records))


def _shares_of_others(state: State, names: set[str]) -> dict[str, int]:
    published = state.published
    return {} if published is None else {name: share for name, share in published.shares.items() if name not in names}
