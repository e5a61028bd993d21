"""What a cycle publishes, compared with what it would have published had agents reported that did not.

The other cycle is the oracle's, so that no fault of the program can be on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from capital_governor.core.trace import Decision
from tests.oracle.decision import Oracle
from tests.oracle.fleet import GOOD_IN_A_ROW
from tests.oracle.sight import AGENT_HOLDS, Observation, Outcome, Payload, Person, Settings
from tests.promises.ledger import require


@dataclass(frozen=True, slots=True)
class Before:
    """One cycle, before anything is decided.

    Attributes:
        oracle: as it is before the cycle.
        seen: what the cycle sees.
        settings: of the cycle.
        silent: members with a published plan line whose record is faulty or missing.
        without_faults: the outcome with each faulty record replaced by that agent's last good one; None if none is.
        without_silence: the outcome with every silent member's last good record in the payload; None if none is.
    """

    oracle: Oracle
    seen: Observation
    settings: Settings
    silent: frozenset[str]
    without_faults: Outcome | None
    without_silence: Outcome | None

    @property
    def shares(self) -> Mapping[str, int]:
        """The published shares."""
        published = self.oracle.published
        return {} if published is None else published.shares


def foresee(oracle: Oracle, seen: Observation, settings: Settings) -> Before:
    """Return what is known before a cycle, and ask the oracle what its agents' last good records would lead to.

    Agents that are released in this cycle stay as they are, by a person's word or since RELEASE_AFTER is over.
    """
    before, payload = oracle.copy(), seen.payload
    if not isinstance(payload, Payload):
        return Before(before, seen, settings, frozenset(), None, None)
    lines = before.published.shares if before.published is not None else {}
    bad = {name for name in before.fleet.members() if payload.records.get(name) is None}
    last = {
        name: record
        for name in bad
        if (record := before.fleet.people[name].record) is not None and not _is_let_go(name, before, seen, settings)
    }
    faulty = {name: record for name, record in last.items() if name in payload.records}

    def outcome(records: Mapping[str, dict[str, float]]) -> Outcome | None:
        if not records:
            return None
        well = replace(payload, records={**payload.records, **records})
        return before.copy().step(replace(seen, payload=well), settings)

    without_faults = outcome(faulty)
    without_silence = without_faults if last == faulty else outcome(last)
    return Before(before, seen, settings, frozenset(bad & lines.keys()), without_faults, without_silence)


def _is_let_go(name: str, oracle: Oracle, seen: Observation, settings: Settings) -> bool:
    """Return whether a member without a good record ceases to be one in this cycle, as it may."""
    assert isinstance(seen.payload, Payload)
    person, absent = oracle.fleet.people[name], name not in seen.payload.records
    ends = absent and person.absent_cycles >= settings.membership_grace_cycles
    if not person.lapsed and not ends:
        return False
    named = name in oracle.watch.excused or name in seen.release
    by_a_person = named or (seen.accepts(*AGENT_HOLDS) and not person.lapsed)
    has_no_line = oracle.published is None or name not in oracle.published.shares
    return by_a_person or has_no_line or (absent and _time_is_over(person, settings))


def _time_is_over(person: Person, settings: Settings) -> bool:
    """Return whether RELEASE_AFTER is over for an absent agent that has lapsed, or lapses now."""
    if settings.release_after is None:
        return False
    return person.silent_cycles + 1 >= settings.release_after if person.lapsed else settings.release_after == 0


def bad_data_adds_nothing(before: Before, expected: Outcome, decision: Decision) -> None:
    """P10: a bad record lifts nobody, and a regime that is missing, old or of the future lifts no exposure."""
    proposal, payload = decision.proposal, before.seen.payload
    if proposal is None or not isinstance(payload, Payload):
        return
    for name, share in proposal.shares.items():
        if name in payload.records and payload.records[name] is None:
            had = before.shares.get(name, 0)
            require(share <= had, f"the record of {name} is faulty, and it rises from {had} to {share}")
    age = 0.0 if payload.regime_at is None else before.seen.now - payload.regime_at
    of_now = payload.multiplier is not None and -60 <= age <= before.settings.max_age_seconds
    published, known = before.oracle.published, before.oracle.known
    if not of_now and "regime" in known:
        most = max(known["regime"], 0.0 if published is None else published.exposure)
        require(
            proposal.exposure <= most + 1e-12, f"without a regime exposure rises to {proposal.exposure} from {most}"
        )
    _require_no_rise(before, before.without_faults, expected, decision, "bad records")


def silence_gives_nothing(before: Before, expected: Outcome, decision: Decision) -> None:
    """P27: no share rises since another agent is faulty, absent or gone, nor that of such an agent itself.

    One that has lapsed gets nothing before its third good record in a row.
    """
    proposal = decision.proposal
    if proposal is None:
        return
    people, payload = before.oracle.fleet.people, before.seen.payload
    records = payload.records if isinstance(payload, Payload) else {}
    for name, share in proposal.shares.items():
        had, person = before.shares.get(name, 0), people.get(name, Person())
        if records.get(name) is None:
            require(share <= had, f"{name} has no good record, and rises from {had} to {share}")
        if person.lapsed and person.good_in_a_row + 1 < GOOD_IN_A_ROW:
            require(share <= had, f"{name} has lapsed, and rises to {share} by record {person.good_in_a_row + 1}")
    _require_no_rise(before, before.without_silence, expected, decision, "silent agents")


def _require_no_rise(before: Before, other: Outcome | None, expected: Outcome, decision: Decision, cause: str) -> None:
    """Require that no share rises above both its published value and what the other outcome publishes.

    A millionth more may be due to rounding, as the oracle adds up in another order.
    """
    if other is None or other.close or expected.close or decision.proposal is None:
        return
    would = before.shares if other.published is None else other.published.shares
    for name, share in decision.proposal.shares.items():
        had, else_has = before.shares.get(name, 0), would.get(name, 0)
        require(share <= max(had, else_has + 1), f"{cause} lift {name} from {had} to {share}, else {else_has}")
