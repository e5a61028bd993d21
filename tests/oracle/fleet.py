"""Who belongs to the fleet, and within which limits each may be given weight."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tests.oracle.arithmetic import MILLION
from tests.oracle.sight import Observation, Payload, Person, Published, Settings

DAY = 24 * 3600
GOOD_IN_A_ROW = 3
"""The good record, in decided cycles in a row, that ends a lapse."""


@dataclass(slots=True)
class Fleet:
    """Everyone who was ever seen, by name."""

    people: dict[str, Person] = field(default_factory=dict)

    def members(self) -> set[str]:
        return {name for name, person in self.people.items() if person.member}

    def lapsed(self) -> set[str]:
        return {name for name, person in self.people.items() if person.lapsed}

    def adopt(self, found: Published) -> None:
        """Make members of all who have a line in a file, not new ones, and remember their weights in it."""
        plan = found.plan()
        for name in plan:
            if name not in self.members():
                self.people[name] = Person(member=True, no_probation=True)
        for name, person in self.people.items():
            weight = found.weights.get(name, 0.0)
            person.pin = plan.get(name, 0) / (found.exposure * MILLION) if found.exposure > 0 else weight

    def retiring(
        self, payload: Payload, settings: Settings, *, lines: Collection[str] | None, excused: set[str]
    ) -> set[str]:
        """Return who ceases to be a member in this cycle.

        ``lines`` are the names that have a line in what is published, None where nothing is; ``excused`` the members
        whose fault or absence an operator accepted, or who were released.
        """
        found = set()
        for name in self.members():
            person, silent = self.people[name], name not in payload.records
            if payload.records.get(name) is not None or not (
                person.lapsed or (silent and self._is_late(name, settings))
            ):
                continue
            silent_cycles = person.silent_cycles + 1 if person.lapsed else 0
            over = silent and settings.release_after is not None and silent_cycles >= settings.release_after
            if over or name in excused or name not in (lines or ()):
                found.add(name)
        return found

    def _is_late(self, name: str, settings: Settings) -> bool:
        return self.people[name].absent_cycles + 1 > settings.membership_grace_cycles

    def enrol(
        self, payload: Payload, now: float, settings: Settings, *, lines: Collection[str] | None, excused: set[str]
    ) -> None:
        """Count this decided cycle for every agent."""
        good = {name: record for name, record in payload.records.items() if record is not None}
        silent, retiring = (
            self.members() - set(payload.records),
            self.retiring(payload, settings, lines=lines, excused=excused),
        )
        for person in self.people.values():
            if person.retired_at is not None:
                # A clock that went back makes a retirement one of now.
                person.retired_at = min(person.retired_at, now)
        self.look_at_probation(settings)
        self._count(set(good), silent, {name for name in silent - self.lapsed() if self._is_late(name, settings)})
        for name in retiring:
            self.people[name] = Person(retired_at=now)
        self._update(good, settings, founding=lines is None)
        for person in self.people.values():
            if not person.member and person.retired_at is not None and now - person.retired_at >= DAY:
                person.retired_at = None

    def _count(self, good: set[str], silent: set[str], leaving: set[str]) -> None:
        """Count absences; let those lapse that are leaving, and return those that are good for long enough."""
        for name in self.members():
            person = self.people[name]
            if name in leaving:
                person.lapsed = True
            elif person.lapsed and name in good and person.good_in_a_row + 1 == GOOD_IN_A_ROW:
                person.lapsed = False
                person.absent_cycles = person.good_in_a_row = person.silent_cycles = 0
            elif person.lapsed:
                person.good_in_a_row = person.good_in_a_row + 1 if name in good else 0
                person.silent_cycles = person.silent_cycles + 1 if name in silent else 0
            else:
                person.absent_cycles = person.absent_cycles + 1 if name in silent else 0

    def _update(self, good: Mapping[str, dict[str, float]], settings: Settings, *, founding: bool) -> None:
        """Take in the good records; whoever is no member becomes one."""
        for name, record in good.items():
            person = self.people.setdefault(name, Person())
            if not person.member:
                person.member = True
                person.no_probation = founding
                person.on_probation = not person.no_probation and settings.probation_cycles > 0
            person.record = record
            person.healthy_cycles += 1

    def look_at_probation(self, settings: Settings) -> None:
        """Say who is on probation in a cycle that is not counted."""
        for person in self.people.values():
            person.on_probation = not person.no_probation and person.healthy_cycles < settings.probation_cycles

    def limits(self, seen: Observation, settings: Settings) -> tuple[dict[str, float], dict[str, float]]:
        """Return the limits that take part in the plan: not the caps whose part is not shared out."""
        low, high = {}, {}
        for name in self.members():
            person = self.people[name]
            high[name] = most_of_anybody(name, seen, settings)
            if person.on_probation:
                high[name] = min(high[name], settings.min_alloc)
            floors = [limit.floor for limit in seen.operator_limits if limit.is_for(name, seen.now)]
            low[name] = min(high[name], max([settings.min_alloc, *floors]))
            if person.record is None:
                low[name] = high[name] = min(high[name], person.pin)
        return low, high

    def just_back(self, name: str, now: float) -> bool:
        retired_at = self.people[name].retired_at
        return retired_at is not None and now - retired_at < DAY


def most_of_anybody(name: str, seen: Observation, settings: Settings) -> float:
    """Return the smaller of MAX_ALLOC and the caps that are shared out."""
    limits = [limit for limit in seen.operator_limits if limit.is_for(name, seen.now) and limit.share_out]
    return min([settings.max_alloc, *(limit.cap for limit in limits)])


def least_cap(name: str, seen: Observation) -> float:
    """Return the smallest cap that withholds, 1 without any."""
    limits = [limit for limit in seen.operator_limits if limit.is_for(name, seen.now) and not limit.share_out]
    return min([1.0, *(limit.cap for limit in limits)])
