"""Which agents belong to which group: the first one of which a name or glob matches. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from capital_governor.core.model import Agent, Group


def group_indices(agents: Iterable[Agent], groups: Sequence[Group]) -> list[int]:
    """Return the position in ``groups`` of each agent's group, -1 for an agent without one."""
    if not groups:
        return [-1 for _ in agents]
    matches = _matcher(tuple(groups)).match
    return [-1 if (found := matches(agent)) is None else int((found.lastgroup or "of-1")[2:]) for agent in agents]


@lru_cache(maxsize=8)
def _matcher(groups: tuple[Group, ...]) -> re.Pattern[str]:
    """Return one expression whose named part that matches says which group it is, the first that matches."""
    return re.compile(
        "|".join(
            f"(?P<of{number}>{'|'.join(fnmatch.translate(pattern) for pattern in group.patterns) or '(?!)'})"
            for number, group in enumerate(groups)
        )
    )
