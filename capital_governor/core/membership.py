"""Which agents belong to the fleet: joining with a good record, absence, lapse, release and return."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from capital_governor.core.model import DAY_SECONDS, WHOLE, Agent, Memory, Metrics, Publication, Rules, Snapshot

RETURN_CYCLES: Final = 3
"""So many good records in decided cycles in a row end a lapse."""
_SETTLED: Final = Memory(tenured=True)
"""A founding member that nothing has happened to: a good record leaves it as it is."""


@dataclass(frozen=True, slots=True)
class Attendance:
    """Which members a payload has; every field is sorted by name.

    Args:
        members: members that have not lapsed.
        lapsed: members that have.
        faulty: members that have not lapsed and have a faulty record, and what is wrong with it.
        absent: members that have not lapsed and have no record.
        gone: absent members that had a record in the last accepted payload.
        newcomers: agents with a good record that are no members, or have lapsed.
        silent: members without a good record: faulty, absent, or lapsed.
    """

    members: tuple[Agent, ...]
    lapsed: tuple[Agent, ...]
    faulty: Mapping[Agent, str]
    absent: tuple[Agent, ...]
    gone: tuple[Agent, ...]
    newcomers: tuple[Agent, ...]
    silent: tuple[Agent, ...]


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Memory and last good metrics after a decided cycle, the members that it retired, and those on probation."""

    agents: Mapping[Agent, Memory]
    metrics: Mapping[Agent, Metrics]
    retired: tuple[Agent, ...]
    probation: frozenset[Agent]


def attendance_of(snapshot: Snapshot, agents: Mapping[Agent, Memory]) -> Attendance:
    """Return which members a payload has."""
    metrics, faults = snapshot.metrics, snapshot.faults
    lapsed = tuple(sorted([agent for agent, memory in agents.items() if memory.lapsed and memory.member]))
    members = tuple(sorted([agent for agent, memory in agents.items() if memory.member and not memory.lapsed]))
    known = frozenset(members)
    unwell = [agent for agent in members if agent not in metrics]
    absent = tuple(agent for agent in unwell if agent not in faults)
    return Attendance(
        members=members,
        lapsed=lapsed,
        faulty={agent: faults[agent] for agent in unwell if agent in faults},
        absent=absent,
        gone=tuple(agent for agent in absent if agents[agent].absent == 0),
        newcomers=tuple(sorted([agent for agent in metrics if agent not in known])),
        silent=tuple(sorted([*unwell, *(agent for agent in lapsed if agent not in metrics)])),
    )


def leaves(memory: Memory, *, faulty: bool, has_line: bool, accepted: bool, rules: Rules) -> bool:
    """Return whether a member without a good record ceases to be one in this decided cycle.

    Args:
        memory: of the member.
        faulty: it has a record, a faulty one.
        has_line: it has a published plan line.
        accepted: the operator has accepted its fault or absence, or released it.
        rules: has MEMBERSHIP_GRACE and RELEASE_AFTER.
    """
    after = rules.release_after_cycles
    if memory.lapsed:
        return accepted or not has_line or (not faulty and after is not None and memory.silent + 1 >= after)
    if faulty or memory.absent < rules.membership_grace_cycles:
        return False
    return accepted or not has_line or after == 0


def enrol(
    snapshot: Snapshot,
    agents: Mapping[Agent, Memory],
    metrics: Mapping[Agent, Metrics],
    *,
    now: float,
    published: Publication | None,
    accepted: Collection[Agent],
    rules: Rules,
) -> Enrolment:
    """Return the memory after a decided cycle.

    An agent with a good record becomes a member. A faulty record changes nothing. A member without a record for more
    than ``membership_grace_cycles`` decided cycles lapses: it stays a member, and its share becomes 0. A third good
    record in a row ends that. A member retires if it has no plan line to lapse with, or as ``leaves`` says. That is
    remembered for a day, to tell an agent that comes and goes from a new one.

    Args:
        snapshot: the accepted payload.
        agents: the memory so far.
        metrics: the last good metrics so far.
        now: the time of the decision.
        published: what is published; None: members join without probation.
        accepted: members whose fault or absence the operator has accepted.
        rules: has grace, probation and RELEASE_AFTER.
    """
    founding = published is None
    lines: Collection[Agent] = () if published is None else published.shares
    good = snapshot.metrics
    updated = dict(agents)
    retired: list[Agent] = []
    joined = {agent for agent in good if agent not in agents}
    for agent, memory in agents.items():
        if agent in good:
            if not memory.member:
                joined.add(agent)
            elif memory != _SETTLED:
                updated[agent] = _with_record(memory, now)
        elif memory.member:
            faulty = agent in snapshot.faults
            if leaves(memory, faulty=faulty, has_line=agent in lines, accepted=agent in accepted, rules=rules):
                updated[agent] = Memory(member=False, retired_at=now)
                retired.append(agent)
            else:
                pin = _weight_in(published, agent) if agent not in metrics and memory.pin is None else memory.pin
                updated[agent] = _without_record(memory, now, faulty=faulty, rules=rules)._replace(pin=pin)
        elif (left := _not_after(memory.retired_at, now)) is not None and now - left < DAY_SECONDS:
            updated[agent] = memory._replace(retired_at=left)
        else:
            del updated[agent]
    if joined:
        updated = dict(sorted({**updated, **_newcomers(joined, agents, now, founding=founding)}.items()))
    probation = on_probation(agents, rules)
    if rules.probation_cycles and not founding:
        probation |= joined
    return Enrolment(updated, _last_good(metrics, good, updated), tuple(sorted(retired)), frozenset(probation))


def _newcomers(
    joined: Iterable[Agent], before: Mapping[Agent, Memory], now: float, *, founding: bool
) -> dict[Agent, Memory]:
    """Return the memory of agents that become members by a good record; some of them once retired."""
    fresh = Memory(tenured=founding, healthy=0 if founding else 1)
    return {
        agent: fresh._replace(retired_at=_not_after(before[agent].retired_at, now)) if agent in before else fresh
        for agent in joined
    }


def _with_record(memory: Memory, now: float) -> Memory:
    """Return the memory of a member after a good record."""
    after = Memory(
        tenured=memory.tenured,
        healthy=0 if memory.tenured else memory.healthy + 1,
        retired_at=_not_after(memory.retired_at, now),
    )
    if memory.lapsed and memory.returned + 1 < RETURN_CYCLES:
        return after._replace(lapsed=True, returned=memory.returned + 1)
    return after


def _without_record(memory: Memory, now: float, *, faulty: bool, rules: Rules) -> Memory:
    """Return the memory of a member that stays one, after a faulty record or none."""
    return memory._replace(
        absent=0 if faulty else memory.absent + 1,
        retired_at=_not_after(memory.retired_at, now),
        lapsed=memory.lapsed or (not faulty and memory.absent >= rules.membership_grace_cycles),
        returned=0,
        silent=memory.silent + 1 if memory.lapsed and not faulty else 0,
    )


def _last_good(
    before: Mapping[Agent, Metrics], now: Mapping[Agent, Metrics], agents: Mapping[Agent, Memory]
) -> Mapping[Agent, Metrics]:
    """Return the last good metrics of each member: those of this payload, and of members without a good record."""
    silent = [agent for agent in before if agent not in now]
    kept = {agent: before[agent] for agent in silent if agent in agents and agents[agent].member}
    last_good = {**now, **kept} if kept else now
    names = sorted(last_good)
    return last_good if names == list(last_good) else {agent: last_good[agent] for agent in names}


def on_probation(agents: Mapping[Agent, Memory], rules: Rules) -> set[Agent]:
    """Return the members that have not yet been healthy for ``probation_cycles`` decided cycles."""
    if not rules.probation_cycles:
        return set()
    return {
        agent
        for agent, memory in agents.items()
        if memory.member and not memory.tenured and memory.healthy < rules.probation_cycles
    }


def adopted(
    agents: Mapping[Agent, Memory], metrics: Mapping[Agent, Metrics], found: Publication
) -> dict[Agent, Memory]:
    """Return the memory after an allocation file was adopted: all its agents are tenured members.

    One without metrics is pinned at its weight in that file; others lose the pin that an earlier file gave them.
    """
    names = found.shares.keys()
    known = {name: agents[name]._replace(pin=None) for name in agents.keys() - set(names)}
    kept = {name: agents[name] if name in agents and agents[name].member else Memory(tenured=True) for name in names}
    pinned = {
        name: memory if name in metrics else memory._replace(pin=_weight_in(found, name))
        for name, memory in kept.items()
    }
    return dict(sorted((known | pinned).items()))


def _weight_in(published: Publication | None, agent: Agent) -> float:
    """Return plan line / exposure, the weight that results in the same line; its weight if exposure is 0."""
    if published is None:
        return 0.0
    if published.exposure == 0.0:
        return published.weights.get(agent, 0.0)
    line = published.shares.get(agent, 0) + published.withheld.get(agent, 0)
    return line / WHOLE / published.exposure


def _not_after(moment: float | None, now: float) -> float | None:
    """Return the moment, at most ``now``: it may be in the future if the clock was set back."""
    return None if moment is None else min(moment, now)
