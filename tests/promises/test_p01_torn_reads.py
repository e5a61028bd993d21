"""P1: whoever reads either file, however often, sees the whole old or the whole new content."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from capital_governor.adapters import atomic_replacement
from capital_governor.adapters.file_convergence import converge
from capital_governor.adapters.paths import Paths
from tests.faults.mutants import mutated
from tests.promises.ledger import Account, require
from tests.rigs.patience import PATIENCE_SECONDS

VERSIONS = 100
"""So many contents, at least, have to be seen."""
READER = """
import hashlib, sys
torn, versions, wanted, number = 0, set(), int(sys.argv[1]), 0
print("reading", flush=True)
while not torn and (number < wanted or len(versions) <= int(sys.argv[4])):
    number += 1
    with open(sys.argv[2 + number % 2], "rb") as file:
        content = file.read()
    digest, body = content[:64], content[64:]
    torn += hashlib.sha256(body).hexdigest().encode() != digest
    versions.add(digest)
print(torn, len(versions))
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader found, and how many publications happened meanwhile."""

    reads: int
    versions: int
    publications: int


def read_while_publishing(root: Path, reads: int) -> Reading:
    """Publish over and over, one time in 20 with all fsyncs, until a process has read the files so often in turn."""
    paths, rng = Paths(root), random.Random(5)  # noqa: S311 - sizes, not secrets
    paths.make_folder()

    def publish() -> None:
        bodies = [rng.randbytes(rng.randrange(1, 8_000)) for _ in range(2)]
        signed = [hashlib.sha256(body).hexdigest().encode() + body for body in bodies]
        if publications % 20 == 0:
            converge(paths, signed[0], signed[1], policy="assert", stopped=lambda: False)
            return
        for path, content in zip((paths.primary, paths.override), signed, strict=True):
            atomic_replacement.replace(path, content, durable=False)

    publications = 0
    publish()
    command = [sys.executable, "-c", READER, str(reads), str(paths.primary), str(paths.override), str(VERSIONS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        try:
            assert reader.stdout.readline() == "reading\n"
            while reader.poll() is None:
                publish()
                publications += 1
            torn, versions = map(int, reader.communicate(timeout=PATIENCE_SECONDS)[0].split())
        finally:
            reader.kill()
    require(torn == 0, "a read is torn")
    require(sorted(path.name for path in paths.folder.glob(".*")) == [], "temporaries are left")
    return Reading(reads, versions, publications)


def test_p01_no_read_is_torn(promise: Account, tmp_path: Path) -> None:
    """A process that hammers both files while they are published over and over never sees a part of either."""
    seen = read_while_publishing(tmp_path, 50_000)
    assert seen.versions > VERSIONS, "the reader did read in between"
    promise.figure(f"torn / reads = 0 / {seen.reads:,} over {seen.publications:,} publications")
    with mutated("written in place"), promise.mutant("written in place"):
        read_while_publishing(tmp_path, 1_000_000)  # it ends with the first that is torn
