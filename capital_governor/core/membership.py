"""Who belongs to the fleet: joining with a first good record, absence, grace, retirement and return."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from capital_governor.core.model import DAY_SECONDS, Agent, Memory, Rules, Snapshot


@dataclass(frozen=True, slots=True)
class Roll:
    """How the fleet stands in one snapshot; every field sorted by name.

    Args:
        members: everyone with a line, present or not.
        faulty: members with a faulty record, and what is wrong with it.
        absent: members without any record.
        gone: those of ``absent`` that had a record in the last accepted payload.
        newcomers: agents with a good record that are no members.
    """

    members: tuple[Agent, ...]
    faulty: Mapping[Agent, str]
    absent: tuple[Agent, ...]
    gone: tuple[Agent, ...]
    newcomers: tuple[Agent, ...]


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The memory after a decided cycle, who was retired in it, and who is on probation."""

    agents: dict[Agent, Memory]
    retired: tuple[Agent, ...]
    probation: frozenset[Agent]


def call_roll(snapshot: Snapshot, agents: Mapping[Agent, Memory]) -> Roll:
    """Compare a snapshot with the memory."""
    metrics, faults = snapshot.metrics, snapshot.faults
    members = tuple(sorted([agent for agent, memory in agents.items() if memory.member]))
    known = frozenset(members)
    unwell = sorted(known - metrics.keys())
    absent = tuple(agent for agent in unwell if agent not in faults)
    return Roll(
        members=members,
        faulty={agent: faults[agent] for agent in unwell if agent in faults},
        absent=absent,
        gone=tuple(agent for agent in absent if agents[agent].absent == 0),
        newcomers=tuple(sorted(metrics.keys() - known)),
    )


def enrol(snapshot: Snapshot, agents: Mapping[Agent, Memory], *, now: float, founding: bool, rules: Rules) -> Enrolment:
    """Return the memory after a decided cycle.

    A good record makes an agent a member. A faulty one keeps it what it is. Without a record a member stays for
    ``membership_grace_cycles`` decided cycles and is then retired; that is remembered for a day, so that one who
    comes and goes can be told from one who is new.

    Args:
        snapshot: the accepted payload.
        agents: the memory so far.
        now: the time of the decision.
        founding: nothing is published yet, so whoever joins is not new to an existing fleet: no probation.
        rules: gives grace and probation.
    """
    probation = on_probation(agents, rules)
    updated: dict[Agent, Memory] = {}
    retired: list[Agent] = []
    # The memory is sorted: where nobody came or went there is nothing to sort.
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
    """Return the memory after an allocation file with these names was adopted: all are members of long standing."""
    known = {name: agents[name] for name in agents.keys() - set(names)}
    kept = {name: agents[name] if name in agents and agents[name].member else Memory(tenured=True) for name in names}
    return dict(sorted((known | kept).items()))


def _not_after(moment: float | None, now: float) -> float | None:
    """A moment remembered from a clock that has since been set back counts as now, not as the future."""
    return None if moment is None else min(moment, now)
