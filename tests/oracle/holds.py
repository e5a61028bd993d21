"""May anything be decided at all? The holds in their order, and what they remember from cycle to cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.oracle.sight import Observation, Payload, Person, Settings


@dataclass(slots=True)
class Watch:
    """The holds with their memory."""

    paused: bool = False
    guardian_seen: bool = False
    stamp_seen: bool = False
    gone_cycles: int = 0
    excused: set[str] = field(default_factory=set)

    def look(self, seen: Observation, settings: Settings) -> str | None:
        """Return why nothing may be decided, whatever the agents are like; or None."""
        unusable = _unusable(seen, settings)
        lost = self._lost_block(seen)
        self._remember_blocks(seen, usable=unusable is None, lost=lost)
        self._remember_pause(seen, complete=unusable is None and lost is None)
        if seen.stopped:
            return "stopped"
        if self.paused:
            return "paused"
        if seen.operator_hold_until is not None and seen.now < seen.operator_hold_until:
            return "operator_hold"
        if seen.files_unwritable:
            return "files_unwritable"
        return unusable or lost

    def _lost_block(self, seen: Observation) -> str | None:
        if isinstance(seen.payload, str):
            return None
        if self.guardian_seen and seen.payload.guardian is None and not seen.accepts("guardian_lost"):
            return "guardian_lost"
        stamp_lost = self.stamp_seen and seen.payload.at is None and not seen.accepts("timestamp_lost")
        return "timestamp_lost" if stamp_lost else None

    def _remember_blocks(self, seen: Observation, *, usable: bool, lost: str | None) -> None:
        """Remember what was there; a loss that was accepted is forgotten, unless that of the other still holds."""
        if isinstance(seen.payload, str):
            return
        guardian = seen.accepts("guardian_lost") and usable
        stamp = seen.accepts("timestamp_lost") and usable and lost is None
        self.guardian_seen = seen.payload.guardian is not None or (self.guardian_seen and not guardian)
        self.stamp_seen = seen.payload.at is not None or (self.stamp_seen and not stamp)

    def _remember_pause(self, seen: Observation, *, complete: bool) -> None:
        if _file_pauses(seen) or _payload_pauses(seen):
            self.paused = True
        elif complete and isinstance(seen.payload, Payload) and seen.payload.records:
            self.paused = False

    def excuse(self, payload: Payload, people: Mapping[str, Person], *, accept: bool, release: frozenset[str]) -> None:
        """Remember whose fault or absence a person accepts; who has lapsed needs a release."""
        good = {name for name, record in payload.records.items() if record is not None}
        everybody = {name for name, person in people.items() if person.member}
        self.excused |= _active(people) - good if accept else set()
        self.excused |= release
        # It ends with a good record, and with being a member: who is put back by a file found on disk needs another.
        self.excused = self.excused & everybody - good

    def look_at_agents(
        self, payload: Payload, people: Mapping[str, Person], settings: Settings, *, accept: bool, nobody_left: bool
    ) -> str | None:
        """Return why the agents are in no state to be decided about; or None. Who has lapsed is no member here.

        ``nobody_left``: this cycle would retire all members, and nobody joins.
        """
        good = {name for name, record in payload.records.items() if record is not None}
        faulty, members = set(payload.records) - good, _active(people)
        if not payload.records and not self.all_excused(people):
            return "no_agents"
        first = not any(person.member for person in people.values())
        if not accept and _too_many_faulty(good, faulty, members, self.excused, first=first):
            return "faulty_majority"
        if nobody_left:
            return "no_agents"
        gone = {name for name in members - set(payload.records) if people[name].absent_cycles == 0}
        all_right = accept or not members or 2 * len(gone - self.excused) < len(members)
        if all_right or self.gone_cycles >= 4 * max(1, settings.membership_grace_cycles):
            self.gone_cycles = 0
            return None
        self.gone_cycles += 1
        return "members_gone"

    def all_excused(self, people: Mapping[str, Person]) -> bool:
        """Say whether a person accepted that every single member is faulty or absent."""
        members = _active(people) or {name for name, person in people.items() if person.member}
        return bool(members) and members <= self.excused


def _active(people: Mapping[str, Person]) -> set[str]:
    return {name for name, person in people.items() if person.member and not person.lapsed}


def _unusable(seen: Observation, settings: Settings) -> str | None:
    if isinstance(seen.payload, str):
        return seen.payload
    if seen.payload.at is None:
        return None
    age = seen.now - seen.payload.at
    if age > settings.max_age_seconds:
        return "payload_stale"
    return "payload_future" if age < -60 else None


def _file_expired(seen: Observation) -> bool:
    file = seen.pause_file
    return file is not None and file.readable and file.paused and file.until <= seen.now


def _file_pauses(seen: Observation) -> bool:
    file = seen.pause_file
    return file is not None and (not file.readable or (file.paused and not _file_expired(seen)))


def _payload_pauses(seen: Observation) -> bool:
    guardian = seen.payload.guardian if isinstance(seen.payload, Payload) else None
    if guardian is None or not guardian.paused:
        return False
    # The producer does not know of an expiry: it goes on repeating a pause whose file has run out.
    file = seen.pause_file
    return file is None or not _file_expired(seen) or not guardian.reason or guardian.reason != file.reason


def _too_many_faulty(good: set[str], faulty: set[str], members: set[str], excused: set[str], *, first: bool) -> bool:
    if first:
        return 2 * len(faulty) > len(good | faulty)
    return 2 * len((faulty & members) - excused) > len(members | good)
