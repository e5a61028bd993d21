"""What ``doctor`` finds about the files in runtime/, and about another writer of the override."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.refusals import remedy
from capital_governor.cli.doctor.finding import Finding, warned, well, wrong, wrong_now
from capital_governor.cli.place import published
from capital_governor.contracts.allocations import source_of
from capital_governor.contracts.status import remembered
from capital_governor.core.publication import SOURCE
from capital_governor.journal.protocol import JournalError
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.service.alerts import RIVAL

_SEE: Final = "let the governor's user read it"


def files(paths: Paths) -> Iterator[Finding]:
    """Yield whether status file and primary file can be read and understood."""
    try:
        content = read_bounded(paths.status)
    except OSError as error:
        yield wrong_now("state", f"{paths.status} cannot be read: {error.strerror}", remedy(error) or _SEE)
    else:
        if content is None:
            yield well("state", "no status file yet")
        elif remembered(content) is None:
            told = f"{paths.status} is damaged or of another version"
            yield warned("state", told, "nothing to do if a governor runs: its next cycle writes it anew")
        else:
            yield well("state", "the status file can be read")
    found, problem = published(paths.primary)
    if problem:
        yield warned("files", problem, "see who wrote it: the governor keeps a copy of it and writes its own")
    elif found is not None:
        yield well("files", f"generation {found.generation} is published")


def rival(paths: Paths, journal: Path, policy: str) -> Iterator[Finding]:
    """Yield whether another program writes the override file.

    Args:
        paths: of the root.
        journal: its journal, which knows of a writer whose content was overwritten again.
        policy: CAPITAL_GOVERNOR_OVERRIDE.
    """
    if policy == "off":
        return
    try:
        content = read_bounded(paths.override)
    except OSError as error:
        yield wrong_now("override", f"{paths.override} cannot be read: {error.strerror}", remedy(error) or _SEE)
        return
    how = "stop that program, or choose with CAPITAL_GOVERNOR_OVERRIDE what is to happen"
    if content is not None and (source := source_of(content)) != SOURCE:
        who = source or "it does not say which"
        yield wrong("override", f"another program ({who}) has written {paths.override}, which agents read", how)
    elif _told_of_a_rival(journal):
        yield wrong("override", f"another program writes {paths.override}, and the governor writes it again", how)
    else:
        yield well("override", "no other program has written the override file")


def _told_of_a_rival(journal: Path) -> bool:
    """Return whether a message about another writer was the last of its kind. A journal that fails has a finding."""
    try:
        with closing(open_sqlite(journal, read_only=True)) as store:
            return RIVAL in store.open_topics()
    except JournalError:
        return False
