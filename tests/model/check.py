"""What has to hold after every cycle, said with numbers of the oracle and of the files alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision
from capital_governor.journal.notices import NoticeState
from tests.model import documents
from tests.model.world import World
from tests.oracle.decision import Oracle
from tests.oracle.sight import Observation, Outcome, Payload, Published
from tests.oracle.sight import Settings as OracleSettings
from tests.promises.ledger import require

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Before:
    """What was known before a cycle: the oracle, and what it would answer had every bad record been a good one."""

    oracle: Oracle
    healed: Outcome | None

    @property
    def published(self) -> Published | None:
        return self.oracle.published

    @property
    def shares(self) -> Mapping[str, int]:
        return {} if self.published is None else self.published.shares


def foresee(oracle: Oracle, seen: Observation, rules: OracleSettings) -> Before:
    """Keep the oracle as it is, and ask it what healthy records in place of the bad ones would lead to."""
    before = oracle.copy()
    payload = seen.payload
    if not isinstance(payload, Payload):
        return Before(before, None)
    people = before.fleet.people
    last_good = {
        name: person.record
        for name, person in people.items()
        if person.member
        and person.record is not None
        and payload.records.get(name) is None
        # Retirement after the grace is the one exception.
        and (name in payload.records or person.absent_cycles < rules.membership_grace_cycles)
    }
    if not last_good:
        return Before(before, None)
    healed = replace(payload, records={**payload.records, **last_good})
    return Before(before, oracle.copy().step(replace(seen, payload=healed), rules))


def adds_no_capital(
    before: Before, seen: Observation, rules: OracleSettings, expected: Outcome, decision: Decision
) -> None:
    """P10: bad data adds capital to nobody, and a missing regime no exposure, nor one that is not of now."""
    proposal, payload = decision.proposal, seen.payload
    if proposal is None or not isinstance(payload, Payload):
        return
    old = before.shares
    for name, share in proposal.shares.items():
        if payload.records.get(name) is None:
            require(share <= old.get(name, 0), f"{name} has no good record and rises: {old.get(name, 0)} to {share}")
    age = 0.0 if payload.regime_at is None else seen.now - payload.regime_at
    of_now = payload.multiplier is not None and -60 <= age <= rules.max_age_seconds
    if not of_now and "regime" in before.oracle.known:
        known = before.oracle.known["regime"]
        require(proposal.exposure <= known + 1e-12, f"without a regime exposure is {proposal.exposure}, above {known}")
    healed = before.healed
    if healed is None or healed.close or expected.close:
        return
    slack = 1 if healed.delicate or expected.delicate else 0
    would = healed.published.shares if healed.published is not None else old
    for name, share in proposal.shares.items():
        most = max(old.get(name, 0), would.get(name, 0)) + slack
        require(
            share <= most, f"bad records lift {name} to {share}: {old.get(name, 0)} before, {would.get(name)} healed"
        )


def obeys_brakes(before: Before, seen: Observation, rules: OracleSettings, decision: Decision) -> None:
    """P14: nothing rises while a brake is on, whatever was restarted in between."""
    oracle, proposal, old = before.oracle, decision.proposal, before.shares
    if proposal is None or all(share <= old.get(name, 0) for name, share in proposal.shares.items()):
        return
    since = math.inf if oracle.moved_at is None else seen.now - min(oracle.moved_at, seen.now)
    require(since >= rules.cooldown_seconds, f"a move {since} s after the last, cool-down {rules.cooldown_seconds} s")
    asked = oracle.asked + 1
    require(asked >= rules.confirm_cycles, f"a move at request {asked} of {rules.confirm_cycles}")


def within_limits(world: World, seen: Observation, decision: Decision) -> None:
    """No member has more than its limit, MAX_ALLOC and operator's caps, times the exposure.

    A proposal of just the shares that are published is no move, so these may owe it to the exposure of this cycle.
    """
    published = world.oracle.published
    if published is None:
        return
    exposure = published.exposure
    if decision.reason is Reason.UNCHANGED:
        exposure = max(exposure, min([1.0, *world.oracle.known.values()]))
    for name in published.shares.keys() & world.oracle.fleet.members():
        share = published.shares[name]
        caps = [limit.cap for limit in seen.operator_limits if limit.agent == name]
        most = min([world.rules.max_alloc, *caps]) * exposure * MILLION
        require(share <= math.floor(most + 1e-6), f"{name} has {share}, its limit is {most}")


def files_say_what_is_published(world: World) -> None:
    """Both files are whole, signed, add up to exactly 1 and say what the journal has as published."""
    published = world.oracle.published
    if published is None or published.generation == 0:
        return
    for path in (world.primary, world.override):
        if path.is_dir() or (path == world.override and world.policy != "assert"):
            continue
        document = documents.read(path)
        require(document is not None, f"{path.name} is not an allocation file of ours")
        assert document is not None
        said = document.published
        require(sum(said.shares.values()) + said.reserve == MILLION, f"{path.name} does not add up: {said}")
        require(all(share >= 0 for share in [*said.shares.values(), said.reserve]), f"{path.name} has less than none")
        same = (said.generation, said.shares, said.reserve) == (
            (published.generation, published.shares, published.reserve)
        )
        require(same, f"{path.name} says {said}, published is {published}")
        require(abs(said.exposure - published.exposure) < 1e-12, f"{path.name} says exposure {said.exposure}")
    leftovers = sorted(world.primary.parent.glob(".*"))
    require(not leftovers, f"left behind: {leftovers}")


def journal_has_it(world: World) -> None:
    """What the journal says was published last is what is published, and every move's notice is there once."""
    published = world.oracle.published
    if world.journal.lost or published is None:
        return
    number = published.generation
    ((newest, rows, reached),) = world.ask(
        "SELECT (SELECT published FROM cycles ORDER BY seq DESC LIMIT 1), (SELECT count(*) FROM cycles),"  # noqa: S608
        f" (SELECT reached FROM publications WHERE generation = {number} ORDER BY id DESC LIMIT 1)"
    )
    require(newest == number, f"the journal has generation {newest}, not {number}")
    require(rows == len(world.done), f"the journal has {rows} cycles of {len(world.done)}")
    document = documents.read(world.primary)
    said = None if document is None else (document.published.generation, document.published.shares)
    if number > 0 and said == (number, published.shares):
        require(reached == 1, f"generation {number} is not marked as reached")


def status_remembers(world: World) -> None:
    """The status file tells what holds remember and the last known multipliers, for a start that finds no journal."""
    watch = world.oracle.watch
    known = {"paused": watch.paused, "guardian_seen": watch.guardian_seen, "timestamp_seen": watch.stamp_seen}
    told = world.status()
    require(told["latches"] == known, f"the status file says {told['latches']}, known is {known}")
    multipliers, last = told["multipliers"], world.oracle.known
    same = multipliers.keys() == last.keys() and all(abs(multipliers[name] - last[name]) < 1e-12 for name in last)
    require(same, f"the status file says {multipliers}, known is {last}")


def told_once(world: World) -> None:
    """Every move and cut is in the outbox exactly once, over restarts and lost journals too.

    Nothing is to be sent of what the agents cannot see, and nothing is held back of what they can.
    """
    pending = [notice.key for notice in world.journal.notices(NoticeState.PENDING, 1_000)]
    held = {notice.key for notice in world.journal.notices(NoticeState.HELD, 99)}
    document, published = documents.read(world.primary), world.oracle.published
    if published is not None and document is not None and document.published.generation == published.generation:
        require(not held, f"held back, and the primary has generation {published.generation}: {held}")
    moves = world.carried + sum(done.published for done in world.done)
    require(len(set(pending)) == len(pending), "a notice is in the outbox twice")
    require(not world.taken & set(pending), "a notice that was taken is in the outbox again")
    told = len(pending) + len(held) + len(world.taken) + len(world.withdrawn())
    require(told == moves, f"{moves} moves and cuts, {told} notices")
