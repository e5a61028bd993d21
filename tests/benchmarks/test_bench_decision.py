"""What a decision costs, without any input or output, and how much more with groups."""

from __future__ import annotations

import itertools
import json
import random
import statistics
import time
from dataclasses import replace
from typing import Final

import pytest

from capital_governor.contracts.payload import parse
from capital_governor.core.allocator import project, project_groups
from capital_governor.core.decision import commit, decide
from capital_governor.core.model import Group, Inputs, Rules, Snapshot, State
from tests.benchmarks.measures import Table, as_bytes, fleet, median_seconds, medians_in_turn
from tests.rigs.dashboard import payload

pytestmark = pytest.mark.bench

AIMS_MICROSECONDS = {3: 5.0, 10: None, 100: None, 1_000: 700.0, 10_000: None}
GROUPS: Final = 20
LOOSE, HALF_BOUND, NEARLY_ALL_BOUND = (0.09,), (0.03, 0.09), (*(GROUPS - 1) * (0.045,), 1.0)
BOUND: Final = {
    LOOSE: "no cap reached",
    HALF_BOUND: "half of the caps reached",
    NEARLY_ALL_BOUND: "all caps but one reached",
}
"""Caps of the groups, taken in turn, and how many of them are reached."""


@pytest.mark.parametrize("agents", AIMS_MICROSECONDS)
def test_projection(table: Table, agents: int) -> None:
    """The exact projection on limits of which some bind on either side, as in a fleet of usual scores."""
    scores, lo, hi = projected(agents)
    weights = project(scores, lo, hi).weights
    bound = sum(weight in {lo[0], hi[0]} for weight in weights)
    seconds = median_seconds(lambda: project(scores, lo, hi), repeats=41, number=max(1, 10_000 // agents))
    table.add(f"projection, {agents:,} agents", seconds * 1e6, "us", AIMS_MICROSECONDS[agents], f"{bound} at a limit")


@pytest.mark.parametrize("caps", BOUND)
def test_projection_with_groups(table: Table, caps: tuple[float, ...]) -> None:
    """The projection of 1,000 agents in 20 groups against that without, in turn."""
    scores, lo, hi = projected(1_000)
    group, group_caps = [i % GROUPS for i in range(1_000)], list(itertools.islice(itertools.cycle(caps), GROUPS))
    with_groups, without = medians_in_turn(
        lambda: median_seconds(lambda: project_groups(scores, lo, hi, group, group_caps), repeats=5),
        lambda: median_seconds(lambda: project(scores, lo, hi), repeats=5),
        turns=21,
    )
    table.add(f"projection with / without groups, {BOUND[caps]}", with_groups / without, "x", 2)


@pytest.mark.parametrize("agents", [3, 1_000, 10_000])
def test_decide(table: Table, agents: int) -> None:
    """A decision that moves nothing."""
    inputs, state, rules = settled(agents, Rules())
    seconds = median_seconds(lambda: decide(inputs, state, rules), repeats=15, number=max(1, 1_000 // agents))
    table.add(f"decide, {agents:,} agents", seconds * 1e6, "us")


@pytest.mark.parametrize("caps", [LOOSE, HALF_BOUND])
def test_decide_with_groups(table: Table, caps: tuple[float, ...]) -> None:
    """A decision about 1,000 agents in 20 groups, each of a name and a glob, against that without, in turn."""
    groups = tuple(
        Group(f"group {number}", cap, (f"Net{number:02}", f"Grid{number:02}-*"))
        for number, cap in zip(range(GROUPS), itertools.cycle(caps), strict=False)
    )
    grouped, plain = settled(1_000, Rules(groups=groups)), settled(1_000, Rules())
    with_groups, without = medians_in_turn(
        lambda: median_seconds(lambda: decide(*grouped), repeats=3),
        lambda: median_seconds(lambda: decide(*plain), repeats=3),
        turns=21,
    )
    table.add(f"decide with / without groups, {BOUND[caps]}", with_groups / without, "x", 2)


def projected(agents: int) -> tuple[list[float], list[float], list[float]]:
    """Return scores, floors and caps."""
    rng = random.Random(agents)  # noqa: S311 - scores, not secrets
    scores = [rng.uniform(0.05, 0.9) ** 2 for _ in range(agents)]
    return scores, [min(0.05, 0.4 / agents)] * agents, [max(2.0 / agents, min(0.40, 4.0 / agents))] * agents


def settled(agents: int, rules: Rules) -> tuple[Inputs, State, Rules]:
    """Return the inputs, the state and the rules of a cycle in which nothing has changed."""
    names = [f"Grid{number % GROUPS:02}-{number:05}" for number in range(agents)]
    snapshot = parse(as_bytes(payload(dict(zip(names, fleet(agents).values(), strict=True)))))
    assert isinstance(snapshot, Snapshot)
    assert snapshot.at is not None
    rules = replace(rules, min_alloc=min(0.05, 0.4 / agents))
    first = Inputs(now=snapshot.at, payload=snapshot)
    return replace(first, now=snapshot.at + 1), commit(decide(first, State(), rules)), rules


def test_decide_against_reading_json(table: Table) -> None:
    """A whole decision of 1,000 agents against `json.loads` of the payload it is about; the strict parse besides."""
    body = as_bytes(payload(fleet(1_000)))
    snapshot = parse(body)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.at is not None
    rules, first = Rules(), Inputs(now=snapshot.at, payload=snapshot)
    state = commit(decide(first, State(), rules))
    assert state.published is not None
    reading: list[float] = []
    deciding: list[float] = []
    parsing: list[float] = []
    for turn in range(31):
        inputs = Inputs(now=snapshot.at + turn, payload=snapshot)
        for times, work in (
            (reading, lambda: json.loads(body)),
            (deciding, lambda inputs=inputs: decide(inputs, state, rules)),
            (parsing, lambda: parse(body)),
        ):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    base = statistics.median(reading)
    table.add("json.loads, 1,000 agents", base * 1e3, "ms")
    table.add("decide / json.loads, 1,000 agents", statistics.median(deciding) / base, "x", 4)
    table.add("parse / json.loads, 1,000 agents", statistics.median(parsing) / base, "x")
