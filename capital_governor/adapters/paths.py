"""Paths of the files of one root: the two allocation files, the status file, the lock and the journal."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from capital_governor.adapters.atomic_replacement import Swept, sweep
from capital_governor.adapters.durability import sync_folder
from capital_governor.adapters.permissions import unwritable


@dataclass(frozen=True)
class Paths:
    """Paths of the files of one root. A dry run has a folder of its own, so that no agent trades on it."""

    root: Path
    dry_run: bool = False

    @cached_property
    def folder(self) -> Path:
        """The folder of the two allocation files and the status file."""
        runtime = self.root / "runtime"
        return runtime / "dry_run" if self.dry_run else runtime

    @cached_property
    def primary(self) -> Path:
        """The governor's own allocation file."""
        return self.folder / "capital_governor_allocations.json"

    @cached_property
    def override(self) -> Path:
        """The allocation file that other programs may write too."""
        return self.folder / "allocations_override.json"

    @cached_property
    def status(self) -> Path:
        """The status file."""
        return self.folder / "capital_governor_status.json"

    @cached_property
    def lock(self) -> Path:
        """The lock file of the running governor."""
        return self.folder / "capital_governor.lock"

    def journal(self, live: Path) -> Path:
        """The journal: ``live``, or a separate one for a dry run."""
        return self.folder / "journal.sqlite3" if self.dry_run else live

    def make_folder(self) -> None:
        """Create ``folder`` where it is missing, durably; the root itself must exist. Raises OSError."""
        for folder in (self.root / "runtime", self.folder):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                sync_folder(folder.parent)

    def unwritable(self) -> str:
        """Return a sentence about the folder that must be writable and is not; empty if the files can be made.

        The root need not be writable if the folders exist. If something else is in a folder's place, ``make_folder``
        reports it.
        """
        missing: Path | None = None
        for folder in dict.fromkeys((self.folder, self.root / "runtime", self.root)):
            if folder.is_dir():
                reason = unwritable(folder)
                made = f", or make {missing} there for that user" if missing else ""
                return reason and f"{reason}{made}"
            if os.path.lexists(folder):
                break
            missing = folder
        return ""

    def sweep(self) -> Swept:
        """Delete temporary files that a killed governor left beside the real files; failures are only returned.

        Only for the holder of the root's lock: another governor may be about to rename its temporary file.
        """
        real = [Path(os.path.realpath(path)) for path in (self.primary, self.override, self.status)]
        swept = [sweep(path.parent, [path.name]) for path in real]
        problems = dict.fromkeys(each.problem for each in swept if each.problem)
        return Swept(tuple(path for each in swept for path in each.gone), " ".join(problems))
