"""Who belongs to the fleet, and within which limits each may be given weight."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.oracle.arithmetic import MILLION
from tests.oracle.sight import Observation, Payload, Person, Published, Settings

DAY = 24 * 3600


@dataclass(slots=True)
class Fleet:
    """Everyone who was ever seen, by name."""

    people: dict[str, Person] = field(default_factory=dict)

    def members(self) -> set[str]:
        return {name for name, person in self.people.items() if person.member}

    def enrol(self, payload: Payload, now: float, settings: Settings, *, founding: bool, may_end: bool) -> bool:
        """Count this cycle for every agent; change nothing and say no where nobody would be left, unless it may end."""
        good = {name: record for name, record in payload.records.items() if record is not None}
        grace = settings.membership_grace_cycles
        retiring = {
            name for name in self.members() - set(payload.records) if self.people[name].absent_cycles + 1 > grace
        }
        if not good and not self.members() - retiring and not may_end:
            return False
        for person in self.people.values():
            if person.retired_at is not None:
                # A clock that went back makes a retirement one of now.
                person.retired_at = min(person.retired_at, now)
        for name in self.members():
            person = self.people[name]
            person.absent_cycles = 0 if name in payload.records else person.absent_cycles + 1
            person.on_probation = not person.no_probation and person.healthy_cycles < settings.probation_cycles
        for name in retiring:
            self.people[name] = Person(retired_at=now)
        for name, record in good.items():
            person = self.people.setdefault(name, Person())
            if not person.member:
                person.member = True
                person.no_probation = founding
                person.on_probation = not person.no_probation and settings.probation_cycles > 0
            person.record = record
            person.healthy_cycles += 1
        for person in self.people.values():
            if not person.member and person.retired_at is not None and now - person.retired_at >= DAY:
                person.retired_at = None
        return True

    def look_at_probation(self, settings: Settings) -> None:
        """Say who is on probation in a cycle that is not counted."""
        for person in self.people.values():
            person.on_probation = not person.no_probation and person.healthy_cycles < settings.probation_cycles

    def limits(
        self, seen: Observation, settings: Settings, published: Published | None
    ) -> tuple[dict[str, float], dict[str, float]]:
        low, high = {}, {}
        for name in self.members():
            person = self.people[name]
            orders = [limit for limit in seen.operator_limits if limit.agent == name and seen.now < limit.until]
            high[name] = min([settings.max_alloc, *(limit.cap for limit in orders)])
            if person.on_probation:
                high[name] = min(high[name], settings.min_alloc)
            low[name] = min(high[name], max([settings.min_alloc, *(limit.floor for limit in orders)]))
            if person.record is None:
                low[name] = high[name] = min(high[name], _published_weight(name, published))
        return low, high

    def just_back(self, name: str, now: float) -> bool:
        retired_at = self.people[name].retired_at
        return retired_at is not None and now - retired_at < DAY


def _published_weight(name: str, published: Published | None) -> float:
    if published is None:
        return 0.0
    if published.exposure == 0:
        return published.weights.get(name, 0.0)
    return published.shares.get(name, 0) / (published.exposure * MILLION)
