"""P5: a disk that refuses leaves the old files and nothing else; the cycle holds, and the next one works."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.publisher import ESCAPED, LEAKED, TORN, publish_next
from tests.faults.roots import Roots, require_convergence
from tests.faults.strace import Publisher, fail
from tests.faults.surroundings import with_own_mounts
from tests.promises.ledger import REPOSITORY, Account, require
from tests.rigs.patience import PATIENCE_SECONDS

MEANING: Final = {
    TORN: "a file was neither old nor new",
    ESCAPED: "an exception escaped",
    LEAKED: "a file is left open",
}
PATH: Final = ("openat", "write", "fsync", "fchmod", "rename")
JOURNAL: Final = ("pwrite64", "fdatasync")
FAULTS: Final[Mapping[str, Sequence[str]]] = {
    "ENOSPC": ("openat", "write", "pwrite64"),
    "EIO": ("fsync", "fdatasync"),
    "EROFS": ("fchmod", "rename"),
    "EXDEV": ("rename",),
}
"""How each call fails most often: calls for the two files, the status file and the journal alike."""
ALL_FAULTS: Final[Mapping[str, Sequence[str]]] = dict.fromkeys(("ENOSPC", "EIO", "EROFS"), (*PATH, *JOURNAL))


def survive(publisher: Publisher, roots: Roots, faults: Mapping[str, Sequence[str]]) -> int:
    """Let each of these calls of one cycle fail once, then all of a kind from some point on; return how many did."""
    calls, fired = publisher.calls(roots.fresh(), (*PATH, *JOURNAL), started=True), 0
    for error, names in faults.items():
        for name in names:
            for when in [str(nth) for nth in range(1, calls[name] + 1)]:
                fired += once(publisher, roots, name, error, when)
            if name != "openat":  # a process that can open nothing any more cannot look at its files either
                fired += lasting(publisher, roots, name, error)
    return fired


def once(publisher: Publisher, roots: Roots, name: str, error: str, when: str) -> int:
    """One call fails; the second cycle of the same process has mended what the first had to leave."""
    root, where = roots.fresh(), f"after {error} of {name} {when}"
    ended = publisher.run(root, fail(name, error, when), cycles=2, started=True, whole=(roots.old, roots.new))
    assert ended.fired, f"nothing failed {where}"
    require(ended.code == 0, f"{MEANING.get(ended.code, ended.code)} {where}")
    with publish_next(root, late=3) as after:
        require_convergence(after, where)
    return ended.fired


def lasting(publisher: Publisher, roots: Roots, name: str, error: str) -> int:
    """All calls of a kind fail for two cycles; the next start has mended it."""
    root, where = roots.fresh(), f"after {error} of every {name}"
    ended = publisher.run(root, fail(name, error, "1+"), cycles=2, started=True, whole=(roots.old, roots.new))
    assert ended.fired > 1, f"nothing failed {where}"
    require(ended.code == 0, f"{MEANING.get(ended.code, ended.code)} {where}")
    left = [path.name for path in (root / "runtime").glob(".*")]
    require(not left, f"{where}, {left} were left")
    with publish_next(root, late=3) as after:
        require_convergence(after, where)
    return ended.fired


def test_p05_a_call_that_fails_leaves_old_files_and_a_later_cycle_mends_it(promise: Account, roots: Roots) -> None:
    """Whichever call of a cycle the disk refuses: whole files, no leak, no exception, and two cycles later the move."""
    with Publisher() as publisher:
        fired = survive(publisher, roots, FAULTS)
    assert fired > 50
    promise.figure(f"calls failed {fired}, violations 0")
    for mutant, faults in (
        ("written in place", {"ENOSPC": ["write"]}),
        ("temporaries left", {"EIO": ["rename"]}),
        ("descriptors left", {"EIO": ["write"]}),
    ):
        with Publisher(mutant) as publisher, promise.mutant(mutant):
            survive(publisher, roots, faults)


@pytest.mark.long
def test_p05_any_call_that_fails_in_any_way(promise: Account, roots: Roots) -> None:
    """The same for every call with each of the three errors."""
    with Publisher() as publisher:
        promise.figure(f"long form: calls failed {survive(publisher, roots, ALL_FAULTS)}, violations 0")


# --- a real disk that is full, read-only, or another one --------------------------------------------------------------

TINY: Final = """
import json, os, subprocess, sys
from pathlib import Path
from tests.faults.mutants import MUTANTS
from tests.faults.publisher import NEXT, publish_first, start_late

root, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
for name in sys.argv[3:]:
    MUTANTS[name]()
# The journal is not on these: closed for want of space, it would free some.
(root / "runtime").mkdir(exist_ok=True)
for folder in (root / "runtime", elsewhere):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
(root / "runtime/allocations_override.json").symlink_to(elsewhere / "override.json")
publish_first(root)


def now():
    status = json.loads((root / "runtime/capital_governor_status.json").read_text())
    found = [path.read_text() if path.exists() else "" for path in (rig.primary, rig.override)]
    def generation(text):
        return json.loads(text)["generation"] if text else None
    return {"generations": [generation(text) for text in found], "link": rig.override.is_symlink(),
            "left": [p.name for folder in (root / "runtime", elsewhere) for p in folder.glob(".*")]}


def fill(folder):
    with open(folder / "ballast", "wb", buffering=0) as ballast:
        try:
            while ballast.write(b"x" * 512):
                pass
        except OSError as error:
            return error.errno


rig = start_late(root)
said = {"first": now(), "errno": [fill(root / "runtime"), fill(elsewhere)]}
outcome = rig.see(NEXT)
said["full"] = now() | {"outcomes": [outcome.convergence.primary.outcome, outcome.convergence.override.outcome]}
(root / "runtime/ballast").unlink(), (elsewhere / "ballast").unlink()
rig.see(NEXT)
said["freed"] = now()
for folder in (root / "runtime", elsewhere):
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
outcome = rig.see({"Ada": 0.6, "Bob": 0.3, "Cyd": 0.1})
said["read-only"] = now() | {"outcomes": [outcome.convergence.primary.outcome, outcome.convergence.override.outcome]}
for folder in (root / "runtime", elsewhere):
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
rig.see({"Ada": 0.6, "Bob": 0.3, "Cyd": 0.1})
said["writable"] = now()
rig.journal.close()
print(json.dumps(said))
"""


def live_on_a_tiny_disk(folder: Path, mutant: str = "") -> dict[str, Any]:
    """Govern on a file system of 64 KB whose override is on another one; fill both, free them, and so on."""
    for name in ("root", "elsewhere"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    words = [sys.executable, "-c", TINY, str(folder / "root"), str(folder / "elsewhere"), *([mutant] if mutant else [])]
    ended = subprocess.run(
        [*with_own_mounts(), *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert ended.returncode == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return said


def survive_a_tiny_disk(folder: Path, mutant: str = "") -> None:
    """The generations that the files show, and what is left beside them, at each stage."""
    said = live_on_a_tiny_disk(folder, mutant)
    assert said["errno"] == [28, 28], "the disks were never full"
    for stage, generations in (("first", 1), ("full", 1), ("freed", 2), ("read-only", 2), ("writable", 3)):
        found = said[stage]
        require(found["generations"] == [generations] * 2, f"{stage}: {found}")
        require(found["link"], f"{stage}: the symlink to another file system is gone")
        require(found["left"] == [], f"{stage}: {found['left']} were left")
    for stage in ("full", "read-only"):
        require(said[stage]["outcomes"] == ["failed"] * 2, f"{stage}: {said[stage]['outcomes']}")


def test_p05_a_full_and_a_read_only_disk_hold_until_they_end(promise: Account, tmp_path: Path) -> None:
    """On tiny real file systems, one of them behind a symlink: full and read-only keep the old, freed is the new."""
    survive_a_tiny_disk(tmp_path)
    promise.figure("2 tiny file systems full, read-only and apart (EXDEV): old kept, next cycle published")
    for mutant in ("errors dropped", "temporary beside the link", "written in place"):
        with promise.mutant(f"{mutant} on a tiny disk"):
            survive_a_tiny_disk(tmp_path, mutant)
