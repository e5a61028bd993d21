"""P3: whatever a disk has kept of a publication when the power went, it is old or new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from capital_governor.adapters.file_convergence import converge
from capital_governor.adapters.paths import Paths
from tests.faults.disk import Recorder
from tests.faults.mutants import mutated
from tests.faults.roots import pair
from tests.promises.ledger import Account, require

OLD: Final = (b"o" * 700, b"O" * 300)
NEW: Final = (b"n" * 600, b"N" * 900)


def survive_power_loss(folder: Path, *, begun: bool) -> int:
    """Publish with every power loss there may be; return how many states a disk may have been left in."""
    root = folder / f"root{len(list(folder.iterdir()))}"
    paths = Paths(root)
    paths.folder.mkdir(parents=True)
    names = (paths.primary.name, paths.override.name)
    old: Sequence[bytes | None] = (None, None)
    if begun:
        converge(paths, *OLD, policy="assert", stopped=lambda: False)
        old = OLD
    recorder = Recorder(paths.folder)
    with recorder.recording():
        for position in (0, 1):
            wanted = (NEW[0], NEW[1] if position else OLD[1])
            converge(paths, *wanted, policy="assert" if position else "off", stopped=lambda: False)
            recorder.mark(names[position])
    states = set()
    for crash in recorder.crashes():
        states.add((crash.prefix, tuple(sorted(crash.files.items()))))
        for name, before, after in zip(names, old, NEW, strict=True):
            found = crash.files.get(name)
            require(found in (before, after), f"{name} after operation {crash.prefix}: {found!r}")
            # What has returned has lasted: the journal says that this generation was reached.
            lasting = crash.prefix >= recorder.marks[name]
            require(found == after or not lasting, f"{name} was published, and lost by operation {crash.prefix}")
        # The override follows the primary on the disk too.
        require(crash.files.get(names[1]) != NEW[1] or crash.files.get(names[0]) == NEW[0], "the override is ahead")
    assert pair(root) == NEW
    return len(states)


def test_p03_power_loss_leaves_old_or_new(promise: Account, tmp_path: Path) -> None:
    """Every prefix of the operations with every subset of the unsynced ones is old or new, and new once it returned."""
    states = sum(survive_power_loss(tmp_path, begun=begun) for begun in (False, True))
    assert states > 100
    promise.figure(f"states {states}, bad 0")
    for name in ("no fsync", "no folder fsync", "written in place", "order swapped"):
        with mutated(name), promise.mutant(name):
            survive_power_loss(tmp_path, begun=True)
