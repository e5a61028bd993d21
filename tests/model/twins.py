"""What a cycle would have come to if an agent had not been silent or faulty, or had no operator's cap.

Each twin is one step of the oracle from the same memory. Nobody else's share may depend on what is different in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.oracle.decision import Oracle
from tests.oracle.sight import Observation, Outcome, Payload, Settings


@dataclass(frozen=True, slots=True)
class Twin:
    """A cycle that differs in some agents.

    Args:
        why: in words, what is different, after "if".
        touched: the agents in which it differs.
        outcome: what the oracle expects of it.
        members: of the fleet after it.
    """

    why: str
    touched: frozenset[str]
    outcome: Outcome
    members: set[str]


def twins(oracle: Oracle, seen: Observation, rules: Settings) -> tuple[Twin, ...]:
    """Return the twins of the cycle that comes after what this oracle knows; the oracle stays as it is."""
    found = []
    for why, touched, other in (*_healed(oracle, seen), *_uncapped(seen)):
        twin = oracle.copy()
        outcome = twin.step(other, rules)
        found.append(Twin(why, frozenset(touched), outcome, twin.fleet.members()))
    return tuple(found)


def _healed(oracle: Oracle, seen: Observation) -> Iterator[tuple[str, set[str], Observation]]:
    """Give every member whose record is faulty or missing its last good one."""
    payload = seen.payload
    if not isinstance(payload, Payload):
        return
    last_good = {
        name: person.record
        for name, person in oracle.fleet.people.items()
        if person.member and person.record is not None and payload.records.get(name) is None
    }
    if last_good:
        healed = replace(payload, records={**payload.records, **last_good})
        yield f"{sorted(last_good)} had good records", set(last_good), replace(seen, payload=healed)


def _uncapped(seen: Observation) -> Iterator[tuple[str, set[str], Observation]]:
    """Take away the caps of single agents that are not shared out, but leave their floors."""
    touched = {
        limit.agent
        for limit in seen.operator_limits
        if limit.agent != "*" and not limit.share_out and limit.cap < 1 and seen.now < limit.until
    }
    if touched:
        limits = [
            replace(limit, cap=1.0) if limit.agent in touched and not limit.share_out else limit
            for limit in seen.operator_limits
        ]
        yield f"{sorted(touched)} had no cap", touched, replace(seen, operator_limits=tuple(limits))
