"""What a decision costs, without any input or output."""

from __future__ import annotations

import json
import random
import statistics
import time

import pytest

from capital_governor.contracts.payload import parse
from capital_governor.core.allocator import project
from capital_governor.core.decision import commit, decide
from capital_governor.core.model import Inputs, Rules, Snapshot, State
from tests.benchmarks.measures import Table, as_bytes, fleet, median_seconds
from tests.rigs.dashboard import payload

pytestmark = pytest.mark.bench

AIMS_MICROSECONDS = {3: 5.0, 10: None, 100: None, 1_000: 700.0, 10_000: None}


@pytest.mark.parametrize("agents", AIMS_MICROSECONDS)
def test_projection(table: Table, agents: int) -> None:
    """The exact projection on limits of which some bind on either side, as in a fleet of usual scores."""
    rng = random.Random(agents)  # noqa: S311 - scores, not secrets
    scores = [rng.uniform(0.05, 0.9) ** 2 for _ in range(agents)]
    lo, hi = [min(0.05, 0.4 / agents)] * agents, [max(2.0 / agents, min(0.40, 4.0 / agents))] * agents
    weights = project(scores, lo, hi).weights
    bound = sum(weight in {lo[0], hi[0]} for weight in weights)
    seconds = median_seconds(lambda: project(scores, lo, hi), repeats=41, number=max(1, 10_000 // agents))
    table.add(f"projection, {agents:,} agents", seconds * 1e6, "us", AIMS_MICROSECONDS[agents], f"{bound} at a limit")


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
