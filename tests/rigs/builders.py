"""Small builders of what a cycle may know and of what outlives it, and random situations made of them."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from capital_governor.contracts.allocation_files import documents
from capital_governor.core.adoption import adopt
from capital_governor.core.decision import commit, decide
from capital_governor.core.gate import gate
from capital_governor.core.model import (
    EVERYBODY,
    WHOLE,
    Agent,
    Ceiling,
    Group,
    Guardian,
    Inputs,
    Limit,
    Memory,
    Metrics,
    Ppm,
    Publication,
    Regime,
    Rules,
    Snapshot,
    State,
)
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision

T = TypeVar("T")

NOW: Final = 1_762_207_200.0
"""2025-11-03T22:00:00Z."""
INTERVAL: Final = 300.0
PLAIN: Final = Rules(pnl_weight=0.0, sharpe_weight=0.0, winrate_weight=1.0, drawdown_weight=0.0)
"""The default rules, but an agent's score is its win rate, so that numbers can be computed by hand."""
FLEET: Final[Mapping[Agent, float]] = {"Ada": 0.5, "Bob": 0.3, "Cyd": 0.2}
"""Scores that the default limits turn into 0.40, 0.36, 0.24: Ada is at MAX_ALLOC, 0.60 is split 3 to 2."""
FLEET_SHARES: Final[Mapping[Agent, Ppm]] = {"Ada": 400_000, "Bob": 360_000, "Cyd": 240_000}


def examples(count: int) -> settings:
    """How many examples a property gets; the same ones in every run unless PROPERTY_SCALE asks for more."""
    scale = int(os.environ.get("PROPERTY_SCALE", "1"))
    return settings(max_examples=count * scale, derandomize=scale == 1)


# --- one at a time ----------------------------------------------------------------------------------------------------


def rated(score: float) -> Metrics:
    """A good record that scores exactly this under PLAIN."""
    return Metrics(pnl_7d=0.0, sharpe_30d=0.0, winrate_30d=score, max_dd_30d=0.0)


def snapshot(
    scores: Mapping[Agent, float] = FLEET,
    *,
    at: float | None = NOW,
    faulty: Iterable[Agent] = (),
    risk: float | None = 1.0,
    drawdown: float | None = 0.0,
    paused: bool = False,
    said: str = "",
) -> Snapshot:
    """A complete payload; ``said`` is the guardian's reason."""
    return Snapshot(
        at=at,
        metrics={agent: rated(score) for agent, score in scores.items()},
        faults=dict.fromkeys(faulty, "sharpe_30d is missing"),
        guardian=Guardian(paused, drawdown, said),
        regime=Regime("SIDEWAYS", risk),
    )


def observe(
    scores: Mapping[Agent, float] = FLEET,
    *,
    now: float = NOW,
    faulty: Iterable[Agent] = (),
    risk: float | None = 1.0,
    drawdown: float | None = 0.0,
) -> Inputs:
    """The inputs of a cycle with a fresh and complete payload and nothing else."""
    return Inputs(now, snapshot(scores, at=now, faulty=faulty, risk=risk, drawdown=drawdown))


def publication(
    shares: Mapping[Agent, Ppm],
    exposure: float = 1.0,
    *,
    generation: int = 1,
    withheld: Mapping[Agent, Ppm] | None = None,
) -> Publication:
    """A published generation with these shares, and these parts withheld; each weight is plan line / exposure."""
    kept = dict(withheld or {})
    lines = {agent: share + kept.get(agent, 0) for agent, share in shares.items()}
    return Publication(
        generation=generation,
        decision_id=f"20251103T215500Z-{generation}",
        at=NOW - INTERVAL,
        reason=Reason.FIRST_ALLOCATION,
        shares=dict(shares),
        reserve=WHOLE - sum(shares.values()),
        weights={agent: line / WHOLE / exposure if exposure else 0.0 for agent, line in lines.items()},
        exposure=exposure,
        scores={},
        min_alloc=0.05,
        max_alloc=0.40,
        withheld=kept,
    )


def settled(
    scores: Mapping[Agent, float] = FLEET, shares: Mapping[Agent, Ppm] = FLEET_SHARES, exposure: float = 1.0
) -> State:
    """A fleet of old members with these last good scores, and this published."""
    return State(
        published=publication(shares, exposure),
        generation=1,
        agents={agent: Memory(tenured=True) for agent in sorted(scores)},
        metrics={agent: rated(score) for agent, score in sorted(scores.items())},
        multipliers={"regime": exposure, "drawdown": 1.0},
        moved_at=NOW - INTERVAL,
    )


def cycle(inputs: Inputs, state: State, rules: Rules = PLAIN) -> tuple[Decision, State]:
    """Take one cycle as the daemon does; the gate must have nothing to say."""
    decision = decide(inputs, state, rules)
    refusal = gate(decision, inputs, state, rules)
    assert refusal is None, refusal
    return decision, commit(decision)


def shares_of(state: State) -> Mapping[Agent, Ppm]:
    """What is published, without its reserve; nothing if nothing is."""
    return {} if state.published is None else state.published.shares


# --- at random --------------------------------------------------------------------------------------------------------

NAMES: Final = ("Ada", "Bob", "Cyd", "Dan", "Eve", "Fay", "Gus")


@dataclass(frozen=True, slots=True)
class Situation:
    """A state that was reached by deciding, and the inputs and rules of the next decision."""

    inputs: Inputs
    state: State
    rules: Rules


def random_rules(rng: random.Random) -> Rules:
    """Rules of every kind, floors that do not fit and every brake among them."""
    low = rng.choice((0.0, 0.01, 0.05, 0.2))
    return replace(
        PLAIN,
        min_alloc=low,
        max_alloc=rng.choice([cap for cap in (0.1, 0.25, 0.4, 1.0) if cap >= low]),
        threshold=rng.choice((0.0, 0.02, 0.1, 0.3)),
        derisk_threshold=rng.choice((0.0, 0.05, 0.2)),
        turnover_threshold=rng.choice((0.05, 0.2, 1.0)),
        cooldown_seconds=rng.choice((0.0, 0.0, 1000.0)),
        confirm_cycles=rng.choice((1, 1, 2, 3)),
        max_step=rng.choice((1.0, 1.0, 0.2, 0.05)),
        probation_cycles=rng.choice((0, 0, 2)),
        membership_grace_cycles=rng.choice((0, 1, 3)),
        min_reserve=rng.choice((0.0, 0.0, 0.1, 0.5)),
        release_after_cycles=rng.choice((None, None, 0, 2)),
        groups=random_groups(rng),
    )


def random_groups(rng: random.Random) -> tuple[Group, ...]:
    """No group, one or two; both may name the same agent."""
    groups = [
        Group(name, rng.choice((0.0, 0.2, 1 / 3, 0.6, rng.random())), tuple(rng.sample(NAMES, rng.randint(1, 4))))
        for name in ("first", "second")
    ]
    return tuple(groups[: rng.choice((0, 0, 1, 2))])


def random_inputs(rng: random.Random, names: Sequence[Agent], now: float) -> Inputs:
    """A fresh payload of these agents, some of them faulty or absent at times, and now and then an operator's word."""
    unwell = rng.choice((0, 0, 1, 1, 2, 4))
    out = set(rng.choices(names, k=rng.randint(0, unwell)))
    bad = set(rng.choices(names, k=rng.randint(0, unwell))) - out
    good = {name: rng.choice((0.0, 0.25, 0.5, 1.0, rng.random(), rng.random())) for name in names}
    heard = observe(
        {name: score for name, score in good.items() if name not in out | bad},
        now=now,
        faulty=sorted(bad),
        risk=rng.choice((None, 0.0, 0.5, 0.8, 1.0, 1.0, 1.2, rng.random(), rng.random())),
        drawdown=rng.choice((None, 0.0, 0.0, 5.0, 10.0, 15.0, 20.0 * rng.random())),
    )
    orders = tuple(
        Limit(
            EVERYBODY if rng.random() < 0.1 else rng.choice(names),
            "ops",
            cap=rng.choice((None, 0.0, 0.2, rng.random())),
            floor=rng.choice((None, 0.15)),
            share_out=rng.random() < 0.5,
        )
        for _ in range(rng.choice((0, 0, 0, 1, 2)))
    )
    return replace(
        heard,
        limits=orders,
        accept=rng.random() < 0.05,
        ceiling=Ceiling(rng.choice((0.0, 0.5, rng.random())), "ops") if rng.random() < 0.15 else None,
        released=(rng.choice(names),) if rng.random() < 0.05 else (),
    )


def random_situation(seed: int, agents: int, cycles: int) -> Situation:
    """A random fleet, some of it adopted from a file, after so many random cycles, and one more to be decided."""
    rng = random.Random(seed)  # noqa: S311 - reproducible situations, no secrets
    rules, names, now, state = random_rules(rng), NAMES[:agents], NOW, State()
    if rng.random() < 0.25:
        exposure = rng.choice((1.0, 0.8))
        state = adopt(state, publication(dict.fromkeys(names, int(WHOLE * exposure) // len(NAMES)), exposure))
    for _ in range(cycles):
        state = commit(decide(random_inputs(rng, names, now), state, rules))
        now += rng.choice((INTERVAL, INTERVAL, 4000.0, 90_000.0))
    return Situation(random_inputs(rng, names, now), state, rules)


def payload_of(situation: Situation) -> Snapshot:
    """The payload of a situation; random ones always have one."""
    assert isinstance(situation.inputs.payload, Snapshot)
    return situation.inputs.payload


def renamed(situation: Situation, names: Mapping[Agent, Agent], rng: random.Random) -> Situation:
    """The same situation among agents of other names, their records in any order, their memory sorted by name."""

    def every(of: Mapping[Agent, T]) -> dict[Agent, T]:
        items = [(names[agent], value) for agent, value in of.items()]
        rng.shuffle(items)
        return dict(items)

    inputs, state, payload, published = situation.inputs, situation.state, payload_of(situation), None
    if state.published is not None:
        old = state.published
        published = replace(
            old,
            shares=every(old.shares),
            weights=every(old.weights),
            scores=every(old.scores),
            withheld=every(old.withheld),
        )
    accepted = tuple(sorted(names[agent] for agent in state.latches.accepted))
    return Situation(
        replace(
            inputs,
            payload=replace(payload, metrics=every(payload.metrics), faults=every(payload.faults)),
            limits=tuple(replace(order, agent=names.get(order.agent, EVERYBODY)) for order in inputs.limits),
            released=tuple(names[agent] for agent in inputs.released),
        ),
        replace(
            state,
            published=published,
            agents=dict(sorted(every(state.agents).items())),
            metrics=dict(sorted(every(state.metrics).items())),
            latches=replace(state.latches, accepted=accepted),
        ),
        replace(
            situation.rules,
            groups=tuple(
                replace(group, patterns=tuple(names[agent] for agent in group.patterns))
                for group in situation.rules.groups
            ),
        ),
    )


SITUATIONS: Final = st.builds(
    random_situation, st.integers(0, 2**48), agents=st.integers(1, len(NAMES)), cycles=st.integers(0, 6)
)
"""Built from a seed: twenty times as many in the same time as draw by draw; agents and cycles still shrink."""


def digest_of_random_fleets() -> str:
    """All bytes that 100 random fleets publish in a row of cycles."""
    found = hashlib.sha256()
    for seed in range(100):
        published = random_situation(seed, agents=7, cycles=5).state.published
        for document in () if published is None else documents(published):
            found.update(document)
    return found.hexdigest()
