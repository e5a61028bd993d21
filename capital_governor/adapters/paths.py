"""Where the files of one root are: the two allocation files, the status file, the lock and the journal."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from capital_governor.adapters.atomic_replacement import Swept, sweep
from capital_governor.adapters.durability import sync_folder
from capital_governor.adapters.permissions import unwritable


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the files of one root are. A dry run has its own folder, so that nobody trades on it."""

    root: Path
    dry_run: bool = False

    @property
    def folder(self) -> Path:
        """The folder of all three files."""
        runtime = self.root / "runtime"
        return runtime / "dry_run" if self.dry_run else runtime

    @property
    def primary(self) -> Path:
        """The governor's own allocation file."""
        return self.folder / "capital_governor_allocations.json"

    @property
    def override(self) -> Path:
        """The allocation file that has other writers too."""
        return self.folder / "allocations_override.json"

    @property
    def status(self) -> Path:
        """The status file."""
        return self.folder / "capital_governor_status.json"

    @property
    def lock(self) -> Path:
        """The file whose lock says who governs."""
        return self.folder / "capital_governor.lock"

    def journal(self, live: Path) -> Path:
        """The journal: ``live``, or one of its own for a dry run."""
        return self.folder / "journal.sqlite3" if self.dry_run else live

    def make_folder(self) -> None:
        """Create ``folder`` where it is missing, durably; the root itself must exist. Raises OSError."""
        for folder in (self.root / "runtime", self.folder):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                sync_folder(folder.parent)

    def unwritable(self) -> str:
        """Return which folder would have to be writable for the three files, one sentence; empty if it is.

        The root need not be, where the folders are there. Of what stands in the place of one, ``make_folder`` tells.
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
        """Delete the temporaries that a kill left beside the real files; what cannot be deleted is only told.

        Only for the owner of the root's lock: another governor's temporary may be about to be renamed.
        """
        real = [Path(os.path.realpath(path)) for path in (self.primary, self.override, self.status)]
        swept = [sweep(path.parent, [path.name]) for path in real]
        problems = dict.fromkeys(each.problem for each in swept if each.problem)
        return Swept(tuple(path for each in swept for path in each.gone), " ".join(problems))
