"""Reads ``CAPITAL_GOVERNOR_GROUPS``, and writes it again. Standard library only.

One group is ``NAME=CAP:AGENT,AGENT``, and several are separated by ``;``: ``crypto=0.5:CryptoTrend,Grid*;
sports=0.2:Sports*``. An agent is a name or a glob with ``*``, ``?`` or ``[...]``. Blanks around each part are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from capital_governor.core.model import Group

_GROUP: Final = re.compile(r"([^=:;]*)=([^=:;]*):([^=;]*)")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_PATTERN: Final = re.compile(r"[A-Za-z0-9*?\[][A-Za-z0-9 _.:*?\[\]!-]{0,63}")


def read_groups(value: object, read_cap: Callable[[object], float]) -> tuple[Group, ...]:
    """Return the groups of the setting; groups that are read already stay as they are.

    Args:
        value: the text of the setting, or groups.
        read_cap: reads a cap, and raises ValueError for one outside 0..1.

    Raises:
        ValueError: with what is wrong and with which group, by its place in the list; without the text itself.
    """
    if isinstance(value, tuple) and all(isinstance(group, Group) for group in value):
        return value
    if not isinstance(value, str):
        raise ValueError("is not a text")  # noqa: TRY004 - a wrong setting is a ValueError
    groups: list[Group] = []
    for number, text in enumerate(value.split(";"), start=1):
        groups.append(_group(text, number, read_cap))
        names = [group.name.casefold() for group in groups]
        if names.index(names[-1]) < number - 1:
            raise ValueError(f"has group {number} with the name of group {names.index(names[-1]) + 1}")
    return tuple(groups)


def group_text(group: Group) -> str:
    """Return one group as the setting has it."""
    return f"{group.name}={repr(group.cap).removesuffix('.0')}:{','.join(group.patterns)}"


def groups_text(groups: tuple[Group, ...]) -> str:
    """Return the groups as the setting has them."""
    return "; ".join(group_text(group) for group in groups)


def _group(text: str, number: int, read_cap: Callable[[object], float]) -> Group:
    if not text.strip():
        raise ValueError(f"has nothing where group {number} should be: remove the ; that is too many")
    match = _GROUP.fullmatch(text)
    if match is None:
        raise ValueError(f"has group {number} not in the form NAME=CAP:AGENT,AGENT")
    name, cap, listed = (part.strip() for part in match.groups())
    if not _NAME.fullmatch(name):
        raise ValueError(f"has group {number} with a name that is not 1 to 32 of A-Z a-z 0-9 _ . -")
    try:
        most = read_cap(cap)
    except ValueError:
        raise ValueError(f"has group {number} with a cap that is not a number from 0 to 1") from None
    patterns = tuple(pattern.strip() for pattern in listed.split(","))
    if not any(patterns):
        raise ValueError(f"has group {number} without an agent")
    for place, pattern in enumerate(patterns, start=1):
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"has group {number} whose entry {place} cannot be an agent's name or a glob of names")
    return Group(name, most, patterns)
