"""Which agents belong to which group: the first one of which a name or glob matches. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from capital_governor.core.model import Agent, Group


def group_indices(agents: Iterable[Agent], groups: Sequence[Group]) -> list[int]:
    """Return the position in ``groups`` of each agent's group, -1 for an agent without one."""
    if not groups:
        return [-1 for _ in agents]
    index = _index_of(tuple(groups))
    return [index(agent) for agent in agents]


@lru_cache(maxsize=8)
def _index_of(groups: tuple[Group, ...]) -> Callable[[Agent], int]:
    """Return the function that finds an agent's group; it remembers those of a large fleet."""
    # One expression, whose named part that matches says which group it is, the first that matches.
    groups_of = re.compile(
        "|".join(
            f"(?P<of{number}>{'|'.join(fnmatch.translate(pattern) for pattern in group.patterns) or '(?!)'})"
            for number, group in enumerate(groups)
        )
    )

    @lru_cache(maxsize=16_384)
    def index(agent: Agent) -> int:
        found = groups_of.match(agent)
        return -1 if found is None or found.lastgroup is None else int(found.lastgroup[2:])

    return index
