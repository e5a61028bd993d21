"""Which agents belong to the fleet: joining with a good record, absence, grace, retirement and return."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from capital_governor.core.model import DAY_SECONDS, Agent, Memory, Rules, Snapshot


@dataclass(frozen=True, slots=True)
class Attendance:
    """Which members a payload has; every field is sorted by name.

    Args:
        members: all members.
        faulty: members with a faulty record, and what is wrong with it.
        absent: members without a record.
        gone: absent members that had a record in the last accepted payload.
        newcomers: agents with a good record that are not members.
    """

    members: tuple[Agent, ...]
    faulty: Mapping[Agent, str]
    absent: tuple[Agent, ...]
    gone: tuple[Agent, ...]
    newcomers: tuple[Agent, ...]


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The memory after a decided cycle, the members that it retired, and those on probation."""

    agents: dict[Agent, Memory]
    retired: tuple[Agent, ...]
    probation: frozenset[Agent]


def attendance_of(snapshot: Snapshot, agents: Mapping[Agent, Memory]) -> Attendance:
    """Return which members a payload has."""
    metrics, faults = snapshot.metrics, snapshot.faults
    members = tuple(sorted([agent for agent, memory in agents.items() if memory.member]))
    known = frozenset(members)
    unwell = sorted(known - metrics.keys())
    absent = tuple(agent for agent in unwell if agent not in faults)
    return Attendance(
        members=members,
        faulty={agent: faults[agent] for agent in unwell if agent in faults},
        absent=absent,
        gone=tuple(agent for agent in absent if agents[agent].absent == 0),
        newcomers=tuple(sorted(metrics.keys() - known)),
    )


def enrol(snapshot: Snapshot, agents: Mapping[Agent, Memory], *, now: float, founding: bool, rules: Rules) -> Enrolment:
    """Return the memory after a decided cycle.

    An agent with a good record becomes a member. A faulty record changes nothing. A member without a record stays for
    ``membership_grace_cycles`` decided cycles and is then retired. That is remembered for a day, to tell an agent that
    comes and goes from a new one.

    Args:
        snapshot: the accepted payload.
        agents: the memory so far.
        now: the time of the decision.
        founding: nothing is published yet, so members join without probation.
        rules: has grace and probation.
    """
    probation = on_probation(agents, rules)
    updated: dict[Agent, Memory] = {}
    retired: list[Agent] = []
    # The memory is sorted already, so sort only if agents came or went.
    same = agents.keys() == snapshot.metrics.keys()
    for agent in agents if same else sorted(agents.keys() | snapshot.metrics.keys()):
        memory, metrics = agents.get(agent), snapshot.metrics.get(agent)
        if metrics is not None:
            if memory is not None and memory.member:
                healthy = 0 if memory.tenured else memory.healthy + 1
                left = None if memory.retired_at is None else min(memory.retired_at, now)
                updated[agent] = Memory(metrics, memory.member, memory.tenured, healthy, 0, left)
            else:
                left = None if memory is None else memory.retired_at
                updated[agent] = Memory(
                    metrics, tenured=founding, healthy=0 if founding else 1, retired_at=_not_after(left, now)
                )
                if rules.probation_cycles and not founding:
                    probation.add(agent)
        elif memory is None:
            continue
        elif memory.member:
            if agent in snapshot.faults:
                updated[agent] = memory._replace(absent=0, retired_at=_not_after(memory.retired_at, now))
            elif memory.absent < rules.membership_grace_cycles:
                left, absent = _not_after(memory.retired_at, now), memory.absent + 1
                updated[agent] = memory._replace(absent=absent, retired_at=left)
            else:
                updated[agent] = Memory(member=False, retired_at=now)
                retired.append(agent)
        elif (left := _not_after(memory.retired_at, now)) is not None and now - left < DAY_SECONDS:
            updated[agent] = memory._replace(retired_at=left)
    return Enrolment(updated, tuple(retired), frozenset(probation))


def on_probation(agents: Mapping[Agent, Memory], rules: Rules) -> set[Agent]:
    """Return the members that have not yet been healthy for ``probation_cycles`` decided cycles."""
    if not rules.probation_cycles:
        return set()
    return {
        agent
        for agent, memory in agents.items()
        if memory.member and not memory.tenured and memory.healthy < rules.probation_cycles
    }


def adopted(agents: Mapping[Agent, Memory], names: Collection[Agent]) -> dict[Agent, Memory]:
    """Return the memory after an allocation file with these names was adopted: all of them are tenured members."""
    known = {name: agents[name] for name in agents.keys() - set(names)}
    kept = {name: agents[name] if name in agents and agents[name].member else Memory(tenured=True) for name in names}
    return dict(sorted((known | kept).items()))


def _not_after(moment: float | None, now: float) -> float | None:
    """Return the moment, at most ``now``: it may be in the future if the clock was set back."""
    return None if moment is None else min(moment, now)
