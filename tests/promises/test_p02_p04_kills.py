"""P2 and P4: a publication killed anywhere leaves whole files, which one cycle makes consistent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pytest

from tests.faults.mutants import mutated
from tests.faults.publisher import publish_next
from tests.faults.roots import Roots, pair, require_convergence, shares
from tests.faults.strace import CHANGING, Publisher, kill
from tests.promises.ledger import Account, require


@dataclass(frozen=True, slots=True)
class Kills:
    """How often a publication was killed, and how often its two files differed until the next start."""

    points: int
    apart: int


MEMORY: Final = frozenset({"brk", "mmap", "mremap", "munmap", "madvise", "mprotect"})
"""How often a process asks for memory depends on what the one that it was forked from has free."""


def survive_kills(publisher: Publisher, roots: Roots, calls: Sequence[str]) -> Kills:
    """Kill a publication before each of these calls; the files have to be whole, and one cycle later consistent."""
    points = apart = 0
    for call, count in publisher.calls(roots.fresh(), calls).items():
        for nth in range(1, count + 1):
            root, where = roots.fresh(), f"killed before {call} {nth}"
            killed = publisher.run(root, kill(call, nth))
            if not killed.fired and nth > 1 and call in MEMORY:
                break  # this process needed less memory than the one that was counted
            assert killed.fired, f"not {where}: {killed}"
            points += 1
            found = pair(root)
            require(found in roots.whole, f"{where}, the files are {found}")
            apart += shares(found[0])[0] != shares(found[1])[0]
            with publish_next(root, late=2) as after:
                require_convergence(after, where)
    return Kills(points, apart)


def test_p02_a_kill_before_any_call_leaves_whole_files(promise: Account, roots: Roots) -> None:
    """Killed before any call that changes the disk, the files are whole, and the next start makes them consistent."""
    with Publisher() as publisher:
        kills = survive_kills(publisher, roots, CHANGING)
    assert kills.points > 80
    promise.figure(f"kill points {kills.points}, violations 0")
    with Publisher("written in place") as publisher, promise.mutant("written in place"):
        survive_kills(publisher, roots, ["write", "close"])
    with Publisher() as publisher, mutated("no sweep"), promise.mutant("no sweep"):
        survive_kills(publisher, roots, ["rename"])


@pytest.mark.long
def test_p02_a_kill_before_really_any_call(promise: Account, roots: Roots) -> None:
    """The same before every single call of a start and a cycle, also those that only look or ask for memory."""
    with Publisher() as publisher:
        traced = publisher.run(roots.fresh(), trace="all")
        names = {line.partition("(")[0] for line in traced.trace.splitlines() if "(" in line and line[0].isalpha()}
        kills = survive_kills(publisher, roots, sorted(names - {"exit_group", "rt_sigtimedwait"}))
    promise.figure(f"long form: kill points {kills.points}, violations 0")


def test_p04_both_files_converge_within_one_cycle_of_a_kill(promise: Account, roots: Roots) -> None:
    """Killed between the two files, the next start's first cycle makes them one generation again."""
    calls = ["rename", "fsync", "openat"]
    with Publisher() as publisher:
        kills = survive_kills(publisher, roots, calls)
        assert kills.apart > 0, "no kill fell between the two files"
        promise.figure(f"{kills.points} kills, {kills.apart} with files apart, mismatches after 1 cycle 0")
        mutant = "override only with the primary"
        with mutated(mutant), promise.mutant(mutant):
            survive_kills(publisher, roots, calls)
