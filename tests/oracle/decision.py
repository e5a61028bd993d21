"""A second reading of the rules by which capital is moved, written from their text and not from the program.

``Oracle.step`` takes what one cycle can see and answers what has to happen. It keeps its own memory, imports nothing
of the program, and is written to be read beside the rules: no speed, no traces, no tidy errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tests.oracle.arithmetic import (
    CRUMB,
    MILLION,
    clip01,
    drawdown_multiplier,
    millionths,
    on_the_edge,
    project,
    round_shares,
    score,
    threshold,
)
from tests.oracle.fleet import Fleet
from tests.oracle.holds import Watch
from tests.oracle.sight import AGENT_HOLDS, Observation, Outcome, Payload, Person, Published, Settings


@dataclass(slots=True)
class Oracle:
    """The rules with their memory."""

    published: Published | None = None
    generation: int = 0
    fleet: Fleet = field(default_factory=Fleet)
    known: dict[str, float] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    asked: int = 0
    moved_at: float | None = None

    def copy(self) -> Oracle:
        """Return another one that knows the same, and goes its own way from here."""
        people = {name: replace(person) for name, person in self.fleet.people.items()}
        watch = replace(self.watch, excused=set(self.watch.excused))
        return replace(self, fleet=Fleet(people), known=dict(self.known), watch=watch)

    def adopt(self, found: Published, at: float) -> None:
        """Take a file that was found as what is published: its agents are members, and not new ones."""
        self.published = found
        self.generation = max(self.generation, found.generation)
        for name in found.shares:
            if name not in self.fleet.members():
                self.fleet.people[name] = Person(member=True, no_probation=True)
        self.known.setdefault("regime", found.exposure)
        self.moved_at = at

    def abandon(self, reached: Published | None, at: float | None) -> None:
        """Give up what no agent ever saw, for the last that they did see; its number stays used."""
        self.published = reached
        self.moved_at = at

    def step(self, seen: Observation, settings: Settings) -> Outcome:
        """Answer what has to happen in this cycle, and remember it."""
        self.generation = max(self.generation, seen.known_generation)
        self.moved_at = None if self.moved_at is None else min(self.moved_at, seen.now)
        reason = self.watch.look(seen, settings)
        if reason is not None:
            return _hold(reason)
        assert isinstance(seen.payload, Payload)
        exposure = self._exposure(seen.payload, seen.now, settings)
        accept = seen.accepts(*AGENT_HOLDS)
        reason = self.watch.look_at_agents(seen.payload, self.fleet.people, settings, accept=accept)
        founding = self.published is None
        may_end = not founding and self.watch.all_excused(self.fleet.members())
        if reason is None and not self.fleet.enrol(
            seen.payload, seen.now, settings, founding=founding, may_end=may_end
        ):
            reason = "no_agents"
        if reason is None:
            return self._decide(seen, seen.payload, settings, exposure)
        self.fleet.look_at_probation(settings)
        return self._cut(seen, settings, exposure) or _hold(reason)

    def _exposure(self, payload: Payload, now: float, settings: Settings) -> float:
        self._learn_regime(payload, now, settings)
        if payload.guardian is not None and payload.guardian.drawdown is not None:
            self.known["drawdown"] = drawdown_multiplier(payload.guardian.drawdown, settings)
        return min([1.0, *self.known.values()])

    def _learn_regime(self, payload: Payload, now: float, settings: Settings) -> None:
        if payload.multiplier is None:
            return
        said, age = clip01(payload.multiplier), 0.0 if payload.regime_at is None else now - payload.regime_at
        if "regime" not in self.known or -60 <= age <= settings.max_age_seconds:
            self.known["regime"] = said
        else:
            # One that is old or from the future may warn, and not give the all-clear.
            self.known["regime"] = min(said, self.known["regime"])

    # --- the decision ------------------------------------------------------------------------------------------------

    def _decide(self, seen: Observation, payload: Payload, settings: Settings, exposure: float) -> Outcome:
        low, high = self.fleet.limits(seen, settings, self.published)
        scores = {name: self._score(name, settings) for name in low}
        projected, scale = project(scores, low, high)
        weights = self._stepped(projected, high, settings)
        frozen = {name for name in low if payload.records.get(name) is None}
        target, target_delicate = round_shares(projected, high, exposure)
        shares, delicate = round_shares(weights, high, exposure)
        delicate |= target_delicate
        target, withheld = self._freeze(target, frozen)
        final, _ = self._freeze(shares, frozen)
        for name in final:
            if final[name] < shares[name]:
                weights[name] = final[name] / (exposure * MILLION)
        proposal = self._publication(final, weights, exposure)
        floors = {name: millionths(low[name] * scale, self._smaller_exposure(exposure)) for name in set(low) - frozen}
        changes, growth = self._changes(target, withheld)
        close = delicate and _close_call(changes, growth, settings)
        reasons = {"first_allocation"}
        if self.published is not None:
            reasons = _size_triggers(changes, growth, settings) | self._membership_triggers(seen.now, target)
            reasons |= self._floor_triggers(target, floors) | self._breaches(exposure, high)
        old = None if self.published is None else self.published.shares
        if old in (target, final) or not reasons:
            self.asked = 0
            return Outcome("stay", _stay(target, final, old or {}, delicate=delicate), close=close)
        self.asked += 1
        brakes = self._brakes(seen.now, settings)
        if brakes:
            return self._cut(seen, settings, exposure) or Outcome("stay", frozenset(brakes), close=close)
        self.asked = 0
        self.moved_at = seen.now
        self._commit(proposal)
        return Outcome("move", frozenset(reasons), proposal, delicate, close)

    def _score(self, name: str, settings: Settings) -> float:
        record = self.fleet.people[name].record
        return 0.0 if record is None else score(record, settings)

    def _stepped(self, projected: dict[str, float], high: dict[str, float], settings: Settings) -> dict[str, float]:
        if self.published is None:
            return dict(projected)
        start = {name: self.published.weights.get(name, 0.0) for name in projected}
        farthest = max((abs(projected[name] - start[name]) for name in projected), default=0.0)
        way = 1.0 if farthest <= settings.max_step else settings.max_step / farthest
        if way == 1.0:
            return dict(projected)
        return {name: min(high[name], start[name] + way * (projected[name] - start[name])) for name in projected}

    def _freeze(self, shares: dict[str, int], frozen: Iterable[str]) -> tuple[dict[str, int], int]:
        """Let no agent in ``frozen`` have more than is published; say how much that leaves in the reserve."""
        published = self.published.shares if self.published is not None else {}
        after = dict(shares)
        for name in frozen:
            after[name] = min(shares[name], published.get(name, 0))
        return after, sum(shares.values()) - sum(after.values())

    def _smaller_exposure(self, exposure: float) -> float:
        return exposure if self.published is None else min(exposure, self.published.exposure)

    def _changes(self, target: dict[str, int], withheld: int) -> tuple[list[int], int]:
        """Return the sizes of all changes, the reserve's last, and by how much the reserve grows."""
        old = self.published.shares if self.published is not None else {}
        reserve = self.published.reserve if self.published is not None else MILLION
        growth = MILLION - sum(target.values()) - reserve
        growth = max(0, growth - withheld) if growth > 0 else growth
        sizes = [abs(target.get(name, 0) - old.get(name, 0)) for name in set(target) | set(old)]
        return [*sizes, abs(growth)], growth

    def _membership_triggers(self, now: float, target: dict[str, int]) -> set[str]:
        old = self.published.shares if self.published is not None else {}
        reasons = {"member_left"} if set(old) - set(target) else set()
        if any(not self.fleet.just_back(name, now) for name in set(target) - set(old)):
            reasons.add("member_joined")
        return reasons

    def _floor_triggers(self, target: dict[str, int], floors: dict[str, int]) -> set[str]:
        old = self.published.shares if self.published is not None else {}
        low = {name for name, floor in floors.items() if name in old and old[name] < floor and old[name] < target[name]}
        return {"below_floor"} if low else set()

    def _breaches(self, exposure: float, high: dict[str, float]) -> set[str]:
        old, reasons = self.published, set()
        if old is None:
            return set()
        if any(share > millionths(high[name], old.exposure) for name, share in old.shares.items() if name in high):
            reasons.add("limit_breached")
        if exposure == 0 < old.exposure:
            reasons.add("exposure_zero")
        return reasons

    def _brakes(self, now: float, settings: Settings) -> set[str]:
        brakes = set()
        if self.moved_at is not None and now - self.moved_at < settings.cooldown_seconds:
            brakes.add("cooldown")
        if self.asked < settings.confirm_cycles:
            brakes.add("confirming")
        return brakes

    def _cut(self, seen: Observation, settings: Settings, exposure: float) -> Outcome | None:
        """Publish the cut that is due in spite of a brake or an agents' hold, if one is."""
        old = self.published
        if old is None:
            return None
        _, high = self.fleet.limits(seen, settings, self.published)
        exposure = min(exposure, old.exposure)
        ratio = exposure / old.exposure if old.exposure > 0 else 1.0
        scaled = {name: share * ratio for name, share in old.shares.items()}
        shares = {name: math.floor(value + CRUMB) for name, value in scaled.items()}
        freed = sum(old.shares.values()) - sum(shares.values())
        names = {"limit_breached": "cut_limit", "exposure_zero": "cut_exposure_zero"}
        reasons = {names[reason] for reason in self._breaches(exposure, high)}
        if freed >= threshold(settings.derisk_threshold):
            reasons.add("cut_derisk")
        weights = dict(old.weights)
        for name, share in shares.items():
            shares[name] = min(share, millionths(high[name], exposure)) if name in high else 0
            if name not in high:
                weights[name] = 0.0
            elif shares[name] < share:
                weights[name] = shares[name] / (exposure * MILLION)
        if not reasons or shares == old.shares:
            return None
        proposal = self._publication(shares, weights, exposure)
        self._commit(proposal)
        return Outcome("cut", frozenset(reasons), proposal, any(on_the_edge(value) for value in scaled.values()))

    def _publication(self, shares: dict[str, int], weights: dict[str, float], exposure: float) -> Published:
        return Published(self.generation + 1, shares, MILLION - sum(shares.values()), weights, exposure)

    def _commit(self, publication: Published) -> None:
        self.published = publication
        self.generation = publication.generation


def _hold(reason: str) -> Outcome:
    return Outcome("hold", frozenset({reason}))


def _stay(target: dict[str, int], final: dict[str, int], old: dict[str, int], *, delicate: bool) -> frozenset[str]:
    """Return what a proposal that is no move may be called: unchanged, or a change too small."""
    slack = 1 if delicate else 0
    nearly = final.keys() == old.keys() and all(abs(final[name] - old[name]) <= slack for name in old)
    if final == old and not delicate:
        return frozenset({"unchanged"})
    return frozenset({"unchanged", "below_threshold"} if nearly or target == old else {"below_threshold"})


def _size_triggers(sizes: list[int], growth: int, settings: Settings) -> set[str]:
    """Return which thresholds these changes reach."""
    reached = {
        "threshold": max(sizes) >= threshold(settings.threshold),
        "derisk": growth >= threshold(settings.derisk_threshold),
        "turnover": sum(sizes) >= 2 * threshold(settings.turnover_threshold),
    }
    return {reason for reason, yes in reached.items() if yes}


def _close_call(sizes: list[int], growth: int, settings: Settings) -> bool:
    """Whether a millionth more or less in every line could make the difference."""
    misses = (
        max(sizes) - threshold(settings.threshold),
        growth - threshold(settings.derisk_threshold),
        sum(sizes) - 2 * threshold(settings.turnover_threshold),
    )
    return any(abs(miss) <= len(sizes) for miss in misses)
