"""A second reading of the rules by which capital is moved, written from their text and not from the program.

``Oracle.step`` takes what one cycle can see and answers what has to happen. It keeps its own memory, imports nothing
of the program, and is written to be read beside the rules: no speed, no traces, no tidy errors.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from tests.oracle.arithmetic import (
    MILLION,
    Team,
    clip01,
    drawdown_multiplier,
    millionths,
    project,
    round_shares,
    score,
    threshold,
)
from tests.oracle.fleet import Fleet
from tests.oracle.holds import Watch
from tests.oracle.sight import AGENT_HOLDS, Observation, Outcome, Payload, Published, Settings
from tests.oracle.withholding import Plan, after_a_decision, tightened


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
        self.fleet.adopt(found)
        self.known.setdefault("regime", found.exposure)
        self.moved_at = at

    def has_line(self, name: str) -> bool:
        """Whether something is published for this agent."""
        return self.published is not None and name in self.published.shares

    def last_record(self, name: str) -> dict[str, float] | None:
        """Return the last good record of this agent."""
        return self.fleet.people[name].record

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
            return self._hold(reason, seen, settings, None)
        assert isinstance(seen.payload, Payload)
        exposure = min(self._exposure(seen.payload, seen.now, settings), _ceiling(seen, settings))
        reason = self._look_at_agents(seen, seen.payload, settings)
        if reason is None:
            self.fleet.enrol(seen.payload, seen.now, settings, lines=self._lines(), excused=self.watch.excused)
            return self._decide(seen, seen.payload, settings, exposure)
        self.fleet.look_at_probation(settings)
        return self._hold(reason, seen, settings, exposure)

    def _look_at_agents(self, seen: Observation, payload: Payload, settings: Settings) -> str | None:
        people, watch, accept = self.fleet.people, self.watch, seen.accepts(*AGENT_HOLDS)
        watch.excuse(payload, people, accept=accept, release=seen.release)
        lines, left = self._lines(), self.fleet.members()
        left -= self.fleet.retiring(payload, settings, lines=lines, excused=watch.excused)
        good = any(record is not None for record in payload.records.values())
        may_end = lines is not None and watch.all_excused(people)
        return watch.look_at_agents(payload, people, settings, accept=accept, nobody_left=not (good or left or may_end))

    def _lines(self) -> Collection[str] | None:
        return None if self.published is None else self.published.shares

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
        old = self._under_the_ceilings(seen, settings)
        low, high = self.fleet.limits(seen, settings)
        teams = settings.teams(low)
        scores = {name: self._score(name, settings) for name in low}
        projected, floors = project(scores, low, high, teams)
        weights = self._stepped(projected, high, settings)
        target, target_delicate = round_shares(projected, high, exposure, teams)
        lines, delicate = round_shares(weights, high, exposure, teams)
        delicate |= target_delicate
        reasons, close = {"first_allocation"}, False
        if old is not None:
            changes, growth = _changes(target, old)
            close = (delicate or old.delicate) and _close_call(changes, growth, settings)
            reasons = _size_triggers(changes, growth, settings) | self._membership_triggers(seen.now, target, old)
            reasons |= self._floor_triggers(target, floors, old, exposure)
            reasons |= _breaches(old, exposure, high, settings)

        def leave(plan: Plan) -> Plan:
            return after_a_decision(plan, old, self.fleet, high, seen, payload, settings)

        if not reasons or (old is not None and old.lines in (target, lines)):
            self.asked = 0
            stay = _stay(target, lines, {} if old is None else old.lines, delicate=delicate)
            return self._adjust(old, None if old is None else leave(old), stay, seen, settings, close=close)
        self.asked += 1
        brakes = self._brakes(seen.now, settings)
        if brakes:
            fallen, sharp = (None, False) if old is None else _fallen(old, exposure, settings)
            old = fallen
            stay = frozenset(brakes)
            return self._adjust(old, None if old is None else leave(old), stay, seen, settings, close=close or sharp)
        self.asked = 0
        self.moved_at = seen.now
        new = leave(Plan(lines, {}, weights, exposure, delicate))
        return Outcome("move", frozenset(reasons), self._publish(new), new.delicate, close)

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

    def _membership_triggers(self, now: float, target: dict[str, int], old: Plan) -> set[str]:
        reasons = {"member_left"} if set(old.lines) - set(target) else set()
        if any(not self.fleet.just_back(name, now) for name in set(target) - set(old.lines)):
            reasons.add("member_joined")
        return reasons

    def _floor_triggers(self, target: dict[str, int], floors: dict[str, float], old: Plan, exposure: float) -> set[str]:
        low = {
            name
            for name, line in old.lines.items()
            if name in floors
            and self.fleet.people[name].record is not None
            and line < millionths(floors[name], min(exposure, old.exposure))
            and line < target[name]
        }
        return {"below_floor"} if low else set()

    def _brakes(self, now: float, settings: Settings) -> set[str]:
        brakes = {"cooldown"} if self._cools_down(now, settings) else set()
        if self.asked < settings.confirm_cycles:
            brakes.add("confirming")
        return brakes

    def _cools_down(self, now: float, settings: Settings) -> bool:
        return self.moved_at is not None and now - self.moved_at < settings.cooldown_seconds

    # --- what passes the brakes and the holds -------------------------------------------------------------------------

    def _under_the_ceilings(self, seen: Observation, settings: Settings) -> Plan | None:
        """Return what is published at an exposure that operator and settings allow."""
        return None if self.published is None else Plan.of(self.published).scaled(_ceiling(seen, settings))

    def _adjust(
        self,
        old: Plan | None,
        new: Plan | None,
        stay: frozenset[str],
        seen: Observation,
        settings: Settings,
        *,
        close: bool,
    ) -> Outcome:
        """Leave the plan as it is in ``old``, and publish that, and what is left of it, where anything changes.

        ``new`` has the shares that should be left; ``stay`` is what a cycle is called that changes nothing.
        """
        if old is None or new is None or self.published is None:
            return Outcome("stay", stay, close=close)
        if self._cools_down(seen.now, settings):
            kept = {name: min(share, old.shares[name]) for name, share in new.shares.items()}
            new = replace(new, shares=kept)
        reasons = _falls(Plan.of(self.published), seen, settings, old)
        if any(new.shares[name] < share for name, share in old.shares.items()):
            reasons |= {"cut_limit", "cut_lapse"}
        kind = "cut" if reasons else "restore"
        if not reasons and any(new.shares[name] > share for name, share in old.shares.items()):
            reasons.add("restore")
        hardly = all(abs(share - self.published.shares[name]) <= 1 for name, share in new.shares.items())
        close |= new.delicate and hardly
        if not reasons:
            return Outcome("stay", stay, close=close)
        return Outcome(kind, frozenset(reasons), self._publish(new), new.delicate, close)

    def _hold(self, reason: str, seen: Observation, settings: Settings, exposure: float | None) -> Outcome:
        cut = self._tighten(seen, settings, exposure)
        return Outcome("hold", frozenset({reason}), hold=reason) if cut is None else replace(cut, hold=reason)

    def _tighten(self, seen: Observation, settings: Settings, exposure: float | None) -> Outcome | None:
        """Publish what a person's tightening takes in a hold, and the fall to ``exposure`` where that is known."""
        if self.published is None or seen.stopped or seen.files_unwritable:
            return None
        old, close = self._under_the_ceilings(seen, settings), False
        assert old is not None
        if exposure is not None:
            old, close = _fallen(old, exposure, settings)
        new = tightened(old, seen, settings)
        reasons = _falls(Plan.of(self.published), seen, settings, old)
        if new.shares != old.shares:
            reasons.add("cut_limit")
        if not reasons:
            return None
        hardly = all(abs(share - self.published.shares[name]) <= 1 for name, share in new.shares.items())
        close |= new.delicate and hardly
        return Outcome("cut", frozenset(reasons), self._publish(new), new.delicate, close)

    def _publish(self, plan: Plan) -> Published:
        self.generation += 1
        withheld = {name: line - plan.shares[name] for name, line in plan.lines.items() if line > plan.shares[name]}
        reserve = MILLION - sum(plan.shares.values())
        self.published = Published(self.generation, plan.shares, reserve, plan.weights, plan.exposure, withheld)
        return self.published


def _ceiling(seen: Observation, settings: Settings) -> float:
    return min(seen.most_exposure(), 1 - settings.min_reserve)


def _fallen(old: Plan, exposure: float, settings: Settings) -> tuple[Plan, bool]:
    """Return the plan at the new exposure if that is a fall that is due, and whether a millionth decides that."""
    new = old.scaled(exposure)
    freed = sum(old.lines.values()) - sum(new.lines.values())
    least = threshold(settings.derisk_threshold)
    due = freed >= least or exposure == 0 < old.exposure
    return (new if due else old), new.delicate and abs(freed - least) <= len(old.lines)


def _falls(published: Plan, seen: Observation, settings: Settings, new: Plan) -> set[str]:
    """Return what let the exposure fall, where the plan itself stays as it is."""
    if new.exposure >= published.exposure:
        return set()
    ceiling = _ceiling(seen, settings)
    reasons = {"cut_ceiling"} if ceiling < published.exposure else set()
    if new.exposure < min(ceiling, published.exposure):
        reasons.add("cut_exposure_zero" if new.exposure == 0 else "cut_derisk")
    return reasons


def _breaches(old: Plan, exposure: float, high: dict[str, float], settings: Settings) -> set[str]:
    over = [line for name, line in old.lines.items() if name in high and line > millionths(high[name], old.exposure)]
    reasons = {"limit_breached"} if over or _groups_over(old, settings.teams(old.lines)) else set()
    if exposure == 0 < old.exposure:
        reasons.add("exposure_zero")
    return reasons


def _groups_over(old: Plan, teams: list[Team]) -> bool:
    return any(sum(old.lines[name] for name in team) > millionths(cap, old.exposure) for cap, team in teams)


def _changes(target: dict[str, int], old: Plan) -> tuple[list[int], int]:
    """Return the sizes of all changes of the plan, the reserve's last, and by how much the reserve grows."""
    growth = sum(old.lines.values()) - sum(target.values())
    sizes = [abs(target.get(name, 0) - old.lines.get(name, 0)) for name in set(target) | set(old.lines)]
    return [*sizes, abs(growth)], growth


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
