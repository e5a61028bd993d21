"""Refuses a folder where no governor has ever been, and names the roots that can be seen from here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.running_roots import running_roots
from capital_governor.cli.output import fail
from capital_governor.cli.typed import SCRIPT, typed, typed_again
from capital_governor.contracts.exit_codes import CONFIGURATION
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.sources import Place, find_place
from capital_governor.settings.variables import ROOT
from capital_governor.supervisor.root import Root, is_locked

_MOST_ROOTS: Final = 5
_RUNS: Final = "it is running"


def demand_governor(root: Path | None, where: Place) -> None:
    """Refuse a root that neither has a governor nor had one, in a dry run either.

    Args:
        root: the ``--root`` argument.
        where: the root and its journal.

    Raises:
        SystemExit: 78, with the roots that can be seen from here, and the command for each.
    """
    if had_governor(where):
        return
    how = "--root" if root is not None else ROOT if os.environ.get(ROOT) else "the current folder"
    if how == ROOT and os.environ[ROOT] == str(SCRIPT.parent):  # what the script sets if nothing else names a root
        how = f"the folder of {SCRIPT.name}"
    others = list(_roots_seen(where.root))[:_MOST_ROOTS]
    missing = "there is neither its journal nor its status file; nothing was changed"
    lines = [f"no governor has ever run in {where.root} ({how}): {missing}"]
    lines += [f"{_seen_text(path, why)}; for that one type {typed_again(path)}" for path, why in others]
    if not others:
        lines.append(f"no other root can be seen from here: name it with --root, or in {ROOT}")
    lines.append(f"to start a governor in {where.root} type {typed('run', root)}")
    fail(CONFIGURATION, *lines)


def demand_dry_run(root: Path | None, where: Place) -> None:
    """Refuse an order for a dry run where there is none and was none. Raises SystemExit 78."""
    paths = Paths(where.root, dry_run=True)
    if not _traces(paths, where.journal_path):
        start = typed("run", root, dry_run=True)
        fail(CONFIGURATION, f"no dry run has ever run in {where.root}; nothing was changed; to start one type {start}")


def had_governor(where: Place) -> bool:
    """Return whether a root has a governor or had one, in a dry run too, or a supervisor that starts one.

    Raises OSError.
    """
    found = any(_traces(Paths(where.root, dry_run), where.journal_path) for dry_run in (False, True))
    return found or is_locked(Root(where.root).supervisor_lock)


def _traces(paths: Paths, journal: Path) -> bool:
    return paths.status.exists() or paths.journal(journal).exists() or is_held(paths.lock) is not False


def _seen_text(path: Path, why: str) -> str:
    return f"a governor runs in {path}" if why == _RUNS else f"a governor is or was in {path} ({why})"


def _roots_seen(refused: Path) -> Iterator[tuple[Path, str]]:
    """Yield the roots with a governor that can be seen from here, and how each was found."""
    seen = {_real(refused)}
    for path, why in _candidates(refused):
        real = _real(path)
        if real in seen:
            continue
        seen.add(real)
        with suppress(OSError, SettingsError):
            if had_governor(find_place(path)):
                yield path, why


def _candidates(refused: Path) -> Iterator[tuple[Path, str]]:
    if named := os.environ.get(ROOT):
        yield Path(named).absolute(), ROOT
    with suppress(OSError):
        yield Path.cwd(), "the current folder"
    for parent in refused.parents:
        yield parent, "the folder above"
    for running in running_roots():
        yield running, _RUNS
    yield SCRIPT.parent, f"the folder of {SCRIPT.name}"


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
