"""The fleet's name in messages, for those who have several. Standard library only."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

_LONGEST: Final = 60


def fleet_name(name: str | None, root: Path) -> str:
    """Return the name that is set, else the host and the root's folder: ``host/folder``, printable.

    Args:
        name: CAPITAL_GOVERNOR_NAME; None if it is not set.
        root: the root, relative or absolute.
    """
    if name is not None:
        return name
    made = f"{socket.gethostname().partition('.')[0]}/{root.absolute().name}"
    return "".join(char if char.isprintable() else "?" for char in made)[:_LONGEST]
