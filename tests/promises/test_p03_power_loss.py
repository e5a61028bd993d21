"""P3: whatever a disk has kept of a publication when the power went, each file is old or new."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from capital_governor.adapters.file_convergence import converge
from capital_governor.adapters.paths import Paths
from capital_governor.service.cycle import Cycle
from tests.faults.disk import Recorder
from tests.faults.mutants import mutated
from tests.faults.publisher import NEXT, publish_next, start_late
from tests.faults.roots import Roots, pair, require_convergence, shares
from tests.faults.strace import Publisher
from tests.model.steps import Killed, every_step
from tests.promises.ledger import Account, require

OLD: Final = (b"o" * 700, b"O" * 300)
NEW: Final = (b"n" * 600, b"N" * 900)
LATE: Final = 20
"""Intervals after which a move that never reached the agents is abandoned."""


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
        converge(paths, *NEW, policy="assert", stopped=lambda: False)
        recorder.mark("published")
    states = set()
    for crash in recorder.crashes():
        states.add((crash.prefix, tuple(sorted(crash.files.items()))))
        for name, before, after in zip(names, old, NEW, strict=True):
            found = crash.files.get(name)
            require(found in (before, after), f"{name} after operation {crash.prefix}: {found!r}")
            # What has returned has lasted: the journal says that this generation was reached.
            lasting = crash.prefix >= recorder.marks["published"]
            require(found == after or not lasting, f"{name} was published, and lost by operation {crash.prefix}")
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


def test_p03_a_publication_waits_for_the_disk_four_times(promise: Account, roots: Roots) -> None:
    """The commit, both contents and their folder; neither the mark that agents see it nor the status file waits."""
    with Publisher() as publisher:
        trace = publisher.run(roots.fresh(), trace="fdatasync,fsync,rename", started=True).trace
    calls = re.findall(r"^(\w+)\(", trace, flags=re.MULTILINE)
    begun = calls.index("fsync")
    assert set(calls[:begun]) == {"fdatasync"}, "the first commit after an open also waits for the header of the WAL"
    assert calls[begun : begun + 6] == ["fsync", "fsync", "rename", "rename", "fsync", "rename"], trace
    promise.figure("waits for the disk 4")


def recover(roots: Roots) -> int:
    """Start with every pair of files that a power loss can leave of a committed move; return how many there are."""
    pairs = list(itertools.product(*zip(roots.old, roots.new, strict=True)))
    for left, late in itertools.product(pairs, (2, LATE)):
        root, where = roots.fresh(), f"{late} intervals after {[shares(content)[0] for content in left]}"
        with start_late(root) as rig:
            with every_step(die_before_the_renames), pytest.raises(Killed):
                rig.see(NEXT)
            for path, content in zip((rig.primary, rig.override), left, strict=True):
                assert content is not None
                path.write_bytes(content)
        with publish_next(root, late=late) as after:
            found, published = pair(root), after.governor.state.published
            require(shares(found[0]) == shares(found[1]), f"{where}: the files differ")
            require(published is not None and shares(found[0])[0] == published.generation, f"{where}: not published")
            require(after.journal.unreached(Cycle.book) is None, f"{where}: the journal does not know of it")
            if late < LATE:
                require_convergence(after, where)
    return len(pairs)


def die_before_the_renames(step: str) -> None:
    if step.startswith("before rename"):
        raise Killed


def test_p03_whichever_file_is_old_one_cycle_makes_both_new(promise: Account, roots: Roots) -> None:
    """Each file may be left old or new: a start soon after, or long after, and one cycle make them one generation."""
    promise.figure(f"pairs of files recovered {recover(roots)}")
    mutant = "override only with the primary"
    with mutated(mutant), promise.mutant(mutant):
        recover(roots)
