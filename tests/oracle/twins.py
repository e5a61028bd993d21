"""Two runs of one fleet that differ in a single agent only: in one of them it is silent, faulty or capped at times.

Nobody else's share may depend on that, but through holds about agents, releases and probation; so ``pairs`` has neither
accepts nor releases, and a comparison ends where one of the two holds because of its agents, or may do so.

There is one case more, in which ``pairs`` leaves the agent in peace: a member that is silent for longer than its grace
before it has a line, as before a first allocation that CONFIRM_CYCLES delays, is retired, for it has no plan line that
could be withheld.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

from tests.oracle.sight import Observation, OperatorLimit, Payload, Settings
from tests.oracle.weather import Weather, changed_settings, some_record, some_settings


@dataclass(frozen=True, slots=True)
class Pair:
    """One cycle of both runs: ``victim`` is the agent in which they differ."""

    victim: str
    untouched: Observation
    touched: Observation
    settings: Settings

    def is_emptied(self) -> bool:
        """Whether nobody is left in the payload: that is a hold about agents, and ends no pause."""
        payload = self.touched.payload
        return isinstance(payload, Payload) and not payload.records


class Run(Protocol):
    """One of the two runs, of the oracle or of the program."""

    def has_line(self, name: str) -> bool:
        """Whether something is published for this agent."""

    def last_record(self, name: str) -> dict[str, float] | None:
        """The last good record of this agent."""


def pairs(rng: random.Random, untouched: Run, cycles: int) -> Iterator[Pair]:
    """Yield the cycles of both runs; ``untouched`` is the one in which all is well with the victim."""
    settings, weather = replace(some_settings(rng), probation_cycles=0), Weather(rng)
    victim = rng.choice(list(weather.records))
    trouble, troubled = rng.choice(("silent", "faulty", "capped")), False
    for _ in range(cycles):
        if rng.random() < 0.02:
            settings = changed_settings(settings, rng)
        settings = replace(settings, release_after=None)
        seen = replace(weather.next(), accept=False, release=frozenset())
        if untouched.has_line(victim):
            troubled ^= rng.random() < 0.2
        good = weather.records.setdefault(victim, some_record(rng))
        if troubled and trouble != "capped":
            # Its last good record is what the other run goes on with.
            good = untouched.last_record(victim) or good
        well = _with_record(seen, victim, good)
        yield Pair(victim, well, _troubled(well, victim, trouble) if troubled else well, settings)


def _troubled(seen: Observation, victim: str, trouble: str) -> Observation:
    if trouble == "capped":
        limit = OperatorLimit(victim, cap=0.03, floor=0.0, until=inf)
        return replace(seen, operator_limits=(*seen.operator_limits, limit))
    if trouble == "faulty" or not isinstance(seen.payload, Payload):
        return _with_record(seen, victim, None)
    records = {name: record for name, record in seen.payload.records.items() if name != victim}
    return replace(seen, payload=replace(seen.payload, records=records))


def _with_record(seen: Observation, victim: str, record: dict[str, float] | None) -> Observation:
    if not isinstance(seen.payload, Payload):
        return seen
    return replace(seen, payload=replace(seen.payload, records={**seen.payload.records, victim: record}))
