"""What has to hold of every decision, said with numbers of the oracle alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from capital_governor.core.model import Publication
from capital_governor.core.reason import CUTS, MOVES, Reason
from capital_governor.core.trace import Decision, WithheldBy
from tests.model.twins import Twin
from tests.oracle.arithmetic import MILLION, millionths
from tests.oracle.decision import Oracle
from tests.oracle.fleet import least_cap, most_of_anybody
from tests.oracle.sight import AGENT_HOLDS, Observation, Outcome, Payload, Published
from tests.oracle.sight import Settings as OracleSettings
from tests.oracle.withholding import Plan
from tests.promises.ledger import require


@dataclass(frozen=True, slots=True)
class Case:
    """One decided cycle, with all that it is judged by.

    Args:
        seen: what could be seen.
        rules: the settings.
        before: the oracle before it.
        after: the oracle after it; what it has as published is what it expects, not what was published.
        expected: what the oracle expects.
        twins: what it would have been without silence, faults or caps.
        decision: what the program decided.
    """

    seen: Observation
    rules: OracleSettings
    before: Oracle
    after: Oracle
    expected: Outcome
    twins: tuple[Twin, ...]
    decision: Decision

    @property
    def old(self) -> Published | None:
        return self.before.published

    @property
    def shares(self) -> Mapping[str, int]:
        return {} if self.old is None else self.old.shares

    @property
    def plan(self) -> Mapping[str, int]:
        return {} if self.old is None else self.old.plan()

    @property
    def new(self) -> Publication | None:
        return self.decision.proposal

    @property
    def cools_down(self) -> bool:
        moved_at = self.before.moved_at
        return moved_at is not None and self.seen.now - min(moved_at, self.seen.now) < self.rules.cooldown_seconds


def is_sound(case: Case) -> None:
    """Shares, withheld and reserve are whole millionths that add up, and the reserve contains what is withheld."""
    new = case.new
    if new is None:
        return
    parts, kept = [*new.shares.values(), new.reserve], list(new.withheld.values())
    require({type(part) for part in [*parts, *kept]} == {int}, f"not all in whole millionths: {new}")
    require(min(parts) >= 0 and min(kept, default=1) > 0, f"less than none: {new}")
    require(sum(parts) == MILLION, f"shares and reserve add up to {sum(parts)}")
    require(new.withheld.keys() <= new.shares.keys(), f"withheld from agents without a line: {new}")
    require(sum(kept) <= new.reserve, f"{sum(kept)} withheld, the reserve is {new.reserve}")
    plan, most = sum(new.shares.values()) + sum(kept), millionths(1, new.exposure)
    require(plan <= most, f"the plan is {plan}, exposure {new.exposure} allows {most}")


def adds_no_capital(case: Case) -> None:
    """P10: bad data adds capital to nobody, and a missing regime no exposure, nor one that is not of now."""
    new, payload = case.new, case.seen.payload
    if new is None:
        return
    good = {} if isinstance(payload, str) else payload.records
    for name, share in new.shares.items():
        if good.get(name) is None:
            old = case.shares.get(name, 0)
            require(share <= old, f"{name} has no good record and rises: {old} to {share}")
    if not isinstance(payload, Payload):
        return
    age = 0.0 if payload.regime_at is None else case.seen.now - payload.regime_at
    of_now = payload.multiplier is not None and -60 <= age <= case.rules.max_age_seconds
    if not of_now and "regime" in case.before.known:
        known = case.before.known["regime"]
        most = known if case.old is None else max(known, case.old.exposure)
        require(new.exposure <= most + 1e-12, f"without a regime exposure is {new.exposure}, above {most}")


def depends_on_nobody_else(case: Case) -> None:
    """P10, P27: what one agent's silence, fault or cap takes goes to nobody, and nobody else's share depends on it.

    Holds about agents and releases are apart: in these nobody may have more than without the silence.
    """
    new, expected = case.new, case.expected
    shares = case.shares if new is None else new.shares
    for twin in case.twins:
        would = twin.outcome
        if would.close or expected.close:
            continue
        slack = 1 if would.delicate or expected.delicate else 0
        others = would.published.shares if would.published is not None else case.shares
        about_agents = {would.hold, expected.hold} & set(AGENT_HOLDS)
        for name in shares.keys() - twin.touched if new is not None or not about_agents else ():
            least, most = others.get(name, 0) - slack, others.get(name, 0) + slack
            if about_agents:
                least, most = 0, max(most, case.shares.get(name, 0))
            elif twin.members != case.after.fleet.members():
                continue  # one is released, and its part shared out
            share = shares[name]
            require(least <= share <= most, f"{name} has {share}, and would have {others.get(name)} if {twin.why}")


def obeys_brakes(case: Case) -> None:
    """P14: nothing rises while a brake is on, whatever was restarted in between; a restore waits for COOLDOWN only."""
    new = case.new
    if new is None:
        return
    rises = {name for name, share in new.shares.items() if share > case.shares.get(name, 0)}
    require(
        not rises or not case.cools_down, f"{sorted(rises)} rise within a cool-down of {case.rules.cooldown_seconds} s"
    )
    beyond = {name for name, share in new.shares.items() if share > case.plan.get(name, 0)}
    asked, least = case.before.asked + 1, case.rules.confirm_cycles
    require(not beyond or asked >= least, f"{sorted(beyond)} rise beyond their plan at request {asked} of {least}")


def tightens_at_once(case: Case) -> None:
    """P24: ceilings, caps and the groups' caps are kept after every cycle, in every hold but STOP.

    Files that cannot be written keep it back too.
    """
    seen, rules, held = case.seen, case.rules, case.seen.stopped or case.seen.files_unwritable
    now = case.old if case.new is None else _as_published(case.new)
    if now is None or (held and case.new is None):
        return
    ceiling = min(seen.most_exposure(), 1 - rules.min_reserve)
    require(now.exposure <= ceiling + 1e-12, f"exposure is {now.exposure}, the ceiling {ceiling}")
    for name, share in now.shares.items():
        caps = [limit.cap for limit in seen.operator_limits if limit.is_for(name, seen.now)]
        most = millionths(min([rules.max_alloc, *caps]), now.exposure)
        require(share <= most, f"{name} has {share}, its limit is {most}")
    for cap, team in rules.teams(now.shares):
        total, most = sum(now.shares[name] for name in team), millionths(cap, now.exposure)
        require(total <= most, f"{sorted(team)} have {total}, the limit of their group is {most}")


def loosens_nothing_in_a_hold(case: Case) -> None:
    """P11, P12: in a hold nothing is published but a cut, under STOP nothing at all."""
    new, hold = case.new, case.expected.hold
    if new is None or not hold:
        return
    require(hold != "stopped" and not case.seen.files_unwritable, f"published under {hold}")
    require(case.decision.reason in CUTS, f"{case.decision.reason} while {hold}")
    risen = [name for name, share in new.shares.items() if share > case.shares.get(name, 0)]
    risen += [name for name, line in new.plan.items() if line > case.plan.get(name, 0)]
    require(not risen, f"{risen} rise while {hold}")
    require(case.old is not None and new.exposure <= case.old.exposure, f"exposure rises while {hold}")


def moves_nothing_else(case: Case) -> None:
    """A cut or a restore leaves the plan as it is, but for a lower exposure, and is no move."""
    new, old = case.new, case.old
    if new is None or old is None or case.decision.reason in MOVES:
        return
    require(dict(new.weights) == old.weights, f"{case.decision.reason} changes weights: {old.weights}, {new.weights}")
    require(new.exposure <= old.exposure, f"{case.decision.reason} lifts exposure from {old.exposure}")
    ratio = 1.0 if new.exposure == old.exposure else new.exposure / old.exposure
    lines, plan = new.plan, old.plan()
    require(lines.keys() == plan.keys(), f"{case.decision.reason} changes who has a line: {old}, {new}")
    for name, line in plan.items():
        wanted, slack = line * ratio, 0 if ratio == 1.0 else 2  # it may fall to a ceiling first
        require(abs(lines[name] - wanted) <= slack, f"{case.decision.reason} changes {name}'s plan: {old}, {new}")
    fallen = [name for name, share in new.shares.items() if share < old.shares[name]]
    is_cut = bool(fallen) or new.exposure < old.exposure
    require(is_cut == (case.decision.reason in CUTS), f"{case.decision.reason}, and {fallen} fall: {old}, {new}")
    moved_at, known = case.decision.after.moved_at, case.before.moved_at
    same = moved_at == (None if known is None else min(known, case.seen.now))
    require(same, f"{case.decision.reason} counts as a move of {moved_at}")


def gives_the_silent_nothing(case: Case) -> None:
    """After a decided cycle a lapsed agent, and one that is no member, has nothing."""
    if case.expected.hold or case.old is None:
        return
    fleet, shares = case.after.fleet, case.shares if case.new is None else case.new.shares
    silent = {name for name in shares if name not in fleet.members() or name in fleet.lapsed()}
    for name in silent:
        require(shares[name] == 0, f"{name} has lapsed or is no member, and has {shares[name]}")


def explains_what_is_withheld(case: Case) -> None:
    """The trace says of each part that is withheld how much it is, and names what withholds it; in a hold of a cut."""
    now = case.old if case.new is None else _as_published(case.new)
    if now is None or (case.new is None and case.decision.trace.hold is not None):
        return
    trace = case.decision.trace.withheld
    said = {name: part.amount for name, part in trace.items()}
    require(said == now.withheld, f"withheld is {now.withheld}, the trace says {said}")
    for name, part in trace.items():
        most = _allowed(case, name, part.by, now.exposure)
        share = now.shares[name]
        require(most is not None, f"{name} has {share}, and not because of '{part.by}'")
        assert most is not None
        require(abs(share - most) <= 2, f"{name} has {share}, and '{part.by}' leaves it {most}")


def _allowed(case: Case, name: str, by: WithheldBy, exposure: float) -> int | None:
    """Return the share that this leaves, in millionths; None if it leaves all."""
    fleet, seen, rules = case.after.fleet, case.seen, case.rules
    ceiling = min(seen.most_exposure(), 1 - rules.min_reserve)
    if case.decision.reason not in MOVES:
        ceiling = min(ceiling, exposure)  # a brake lets exposure fall, and the shares with it
    had, at = 0, 1.0
    if case.old is not None:
        scaled = Plan.of(case.old).scaled(ceiling)
        had, at = scaled.shares.get(name, 0), scaled.exposure
    records = seen.payload.records if isinstance(seen.payload, Payload) else {}
    member = name in fleet.members()
    high = most_of_anybody(name, seen, rules) if case.expected.hold else fleet.limits(seen, rules)[1].get(name)
    now = case.old if case.new is None else _as_published(case.new)
    assert now is not None
    teams = [(cap, team) for cap, team in rules.teams(now.shares) if name in team]
    holds: dict[WithheldBy, int | None] = {
        WithheldBy.NO_MEMBER: None if member else 0,
        WithheldBy.LAPSED: 0 if member and name in fleet.lapsed() else None,
        WithheldBy.UNWELL: had if member and records.get(name) is None else None,
        WithheldBy.CAP: millionths(least_cap(name, seen), exposure) if least_cap(name, seen) < 1 else None,
        WithheldBy.LIMIT: None if high is None else millionths(high, exposure),
        WithheldBy.GROUP: now.shares[name] if teams else None,
        WithheldBy.STEP: millionths(had / MILLION / at + rules.max_step, exposure)
        if rules.max_step < 1 and at
        else None,
        WithheldBy.COOLDOWN: had if case.cools_down else None,
        WithheldBy.BEFORE: had if case.expected.hold else None,
    }
    return holds[by]


def _as_published(new: Publication) -> Published:
    return Published(new.generation, dict(new.shares), new.reserve, dict(new.weights), new.exposure, dict(new.withheld))


def is_told(case: Case) -> bool:
    """Whether the operator is told: not if no share changes, nor of a step of MAX_STEP towards a whole restore."""
    new = case.new
    if new is None or (case.old is not None and new.shares == case.old.shares):
        return False
    if case.decision.reason is not Reason.RESTORE:
        return True
    by = {name: part.by for name, part in case.decision.trace.withheld.items()}
    return any(
        by.get(name) is not WithheldBy.STEP for name, share in new.shares.items() if share > case.shares.get(name, 0)
    )


DECIDED = (
    is_sound,
    loosens_nothing_in_a_hold,
    adds_no_capital,
    obeys_brakes,
    tightens_at_once,
    moves_nothing_else,
    gives_the_silent_nothing,
    depends_on_nobody_else,
    explains_what_is_withheld,
)
"""What is checked of every decision, the program's or a mutant's."""
