"""Silence, faults and a person's caps give capital to nobody."""

from __future__ import annotations

import random
from collections import Counter

from tests.oracle.decision import Oracle
from tests.oracle.sight import AGENT_HOLDS
from tests.oracle.twins import pairs

SEQUENCES = 100
CYCLES = 60


def test_nobody_else_has_another_share_because_one_agent_is_silent_faulty_or_capped() -> None:
    """Beside a run in which all is well with one agent, everyone else has the same share in every cycle."""
    kinds: Counter[str] = Counter()
    for seed in range(SEQUENCES):
        rng, oracles = random.Random(seed), (Oracle(), Oracle())  # noqa: S311 - the same days in every run
        untouched, touched = oracles
        for number, pair in enumerate(pairs(rng, untouched, CYCLES)):
            if pair.is_emptied():
                break
            first = untouched.step(pair.untouched, pair.settings)
            second = touched.step(pair.touched, pair.settings)
            if {first.hold, second.hold} & set(AGENT_HOLDS) or untouched.watch.gone_cycles != touched.watch.gone_cycles:
                break
            kinds[second.kind] += 1
            assert others(untouched, pair.victim) == others(touched, pair.victim), (seed, number)
    assert kinds.total() > SEQUENCES * CYCLES // 4
    assert min(kinds[kind] for kind in ("move", "cut", "restore")) > SEQUENCES, kinds


def others(oracle: Oracle, victim: str) -> dict[str, int]:
    published = oracle.published
    return {} if published is None else {name: share for name, share in published.shares.items() if name != victim}
