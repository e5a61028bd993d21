"""Root, journal and published shares, for commands that must work even if other settings are wrong."""

from __future__ import annotations

from pathlib import Path

from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.cli.known_root import demand_governor
from capital_governor.cli.output import warn
from capital_governor.contracts.allocations import NotOurs, read_primary
from capital_governor.core.model import WHOLE, Publication
from capital_governor.settings.sources import Place, find_place


def place(root: Path | None) -> Place:
    """Return root and journal of a governor that runs or has run, and warn of other wrong settings.

    Raises:
        SettingsError: the root or the journal's name is wrong.
        SystemExit: 78, there is no governor and was none.
        OSError: that cannot be seen.
    """
    found = find_place(root)
    demand_governor(root, found)
    for fault in found.faults:
        warn(f"{fault}; a governor that is started now refuses that")
    return found


def published(primary: Path) -> tuple[Publication | None, str]:
    """Return what the primary file has, None if it is not there or wrong, and what is wrong with it."""
    try:
        content = read_bounded(primary)
    except OSError as error:
        return None, f"{primary}: {error.strerror}"
    found = None if content is None else read_primary(content)
    if isinstance(found, NotOurs):
        return None, f"{primary}: {found.detail}"
    return found, ""


def published_shares(primary: Path) -> tuple[dict[str, float], str]:
    """Return the shares in the primary file, 0..1, and what is wrong with it."""
    found, problem = published(primary)
    return {} if found is None else {agent: share / WHOLE for agent, share in found.shares.items()}, problem
