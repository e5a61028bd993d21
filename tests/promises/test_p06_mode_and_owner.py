"""P6: mode, owner and a symlink's target survive a publication."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path
from typing import Final

from capital_governor.adapters.files import Outcome, Paths, converge
from tests.faults.mutants import mutated
from tests.promises.ledger import Account, require

MODES: Final = (0o600, 0o604, 0o640, 0o644, 0o664, 0o666)
UMASKS: Final = (0o000, 0o022, 0o077)
LINKS: Final = ("none", "absolute", "relative", "chain")


def lay_out(root: Path, mode: int, link: str) -> tuple[Paths, dict[Path, Path]]:
    """Make a root whose two files have this mode, another owner where we may, and lie behind such a link."""
    paths = Paths(root)
    paths.folder.mkdir(parents=True)
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    real = {}
    for path in (paths.primary, paths.override):
        target = path if link == "none" else elsewhere / path.name
        target.write_bytes(b"old")
        if os.geteuid() == 0:
            os.chown(target, 12345, 23456)
        target.chmod(mode)
        if link == "chain":
            (elsewhere / f"link-to-{path.name}").symlink_to(target)
        pointing = {
            "absolute": target,
            "relative": Path("..", "elsewhere", path.name),
            "chain": Path("..", "elsewhere", f"link-to-{path.name}"),
        }
        if link != "none":
            path.symlink_to(pointing[link])
        real[path] = target
    return paths, real


def pointed_to(path: Path) -> Path | None:
    return path.readlink() if path.is_symlink() else None


def keep_what_was_set(folder: Path) -> int:
    """Publish over files of every kind; return how many there were."""
    cases = 0
    for mode, umask, link in itertools.product(MODES, UMASKS, LINKS):
        paths, real = lay_out(folder / f"root{len(list(folder.iterdir()))}", mode, link)
        before = {path: (pointed_to(path), real[path].stat()) for path in real}
        masked = os.umask(umask)
        try:
            done = converge(paths, b"new primary", b"new override", policy="assert", stopped=lambda: False)
        finally:
            os.umask(masked)
        assert done.primary.outcome is done.override.outcome is Outcome.WRITTEN
        for path, (pointed, old) in before.items():
            where, new = f"{path.name} of mode {mode:o} under umask {umask:o}, link: {link}", real[path].stat()
            require(pointed_to(path) == pointed, f"{where}: the symlink has changed")
            require(real[path].read_bytes().startswith(b"new"), f"{where}: the real file was not written")
            require(stat.S_IMODE(new.st_mode) == mode, f"{where}: mode {stat.S_IMODE(new.st_mode):o}")
            require((new.st_uid, new.st_gid) == (old.st_uid, old.st_gid), f"{where}: owner {new.st_uid}")
            cases += 1
    return cases


def test_p06_mode_owner_and_symlinks_survive(promise: Account, tmp_path: Path) -> None:
    """Files of six modes under three umasks, ours and somebody else's, behind links or not, stay what they were."""
    cases = keep_what_was_set(tmp_path)
    promise.figure(f"cases {cases}, changed 0")
    for mutant in ("mode and owner forgotten", "link replaced"):
        with mutated(mutant), promise.mutant(mutant):
            keep_what_was_set(tmp_path)
