"""Which agents each group of the settings catches now, for ``check``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from capital_governor.core.groups import group_indices
from capital_governor.core.model import Agent, Group

_MOST_NAMED = 20


def group_documents(agents: Collection[Agent], groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return name, cap and agents of each group."""
    by_agent = dict(zip(agents, group_indices(agents, groups), strict=True))
    return [
        {
            "name": group.name,
            "cap": group.cap,
            "agents": sorted(agent for agent, number in by_agent.items() if number == place),
        }
        for place, group in enumerate(groups)
    ]


def group_warnings(agents: Collection[Agent], groups: Sequence[Group]) -> Iterator[str]:
    """Yield a warning for each name or glob that catches no agent, and one for the agents without a group.

    Without any agent there is nothing to compare with, and so no warning.
    """
    if not agents or not groups:
        return
    index = group_indices(agents, groups)
    for place, group in enumerate(groups):
        for pattern in group.patterns:
            matched = [number for agent, number in zip(agents, index, strict=True) if fnmatchcase(agent, pattern)]
            if not matched:
                yield f"group {group.name}: {pattern} matches no agent now"
            elif place not in matched:
                yield f"group {group.name}: {pattern} catches no agent: each that it matches is in a group before it"
    alone = sorted(agent for agent, number in zip(agents, index, strict=True) if number < 0)
    if alone:
        more = f" and {len(alone) - _MOST_NAMED} more" if len(alone) > _MOST_NAMED else ""
        yield f"in no group of CAPITAL_GOVERNOR_GROUPS: {', '.join(alone[:_MOST_NAMED])}{more}"
