"""P6: mode, owner and a symlink's target survive a publication."""

from __future__ import annotations

import itertools
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from capital_governor.adapters.file_convergence import FileOutcome, converge
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.permissions import NotKeptError, inherit
from tests.faults.mutants import mutated
from tests.promises.ledger import Account, require
from tests.rigs.odd_files import NOBODY, STRANGER, old_file, unprivileged

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
            os.chown(target, 12345, STRANGER)
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
        assert done.primary.outcome is done.override.outcome is FileOutcome.WRITTEN
        for path, (pointed, old) in before.items():
            where, new = f"{path.name} of mode {mode:o} under umask {umask:o}, link: {link}", real[path].stat()
            require(pointed_to(path) == pointed, f"{where}: the symlink has changed")
            require(real[path].read_bytes().startswith(b"new"), f"{where}: the real file was not written")
            require(stat.S_IMODE(new.st_mode) == mode, f"{where}: mode {stat.S_IMODE(new.st_mode):o}")
            require((new.st_uid, new.st_gid) == (old.st_uid, old.st_gid), f"{where}: owner {new.st_uid}")
            cases += 1
    return cases


# --- where mode or owner cannot be kept -------------------------------------------------------------------------------

US: Final = os.geteuid() or NOBODY


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may read or write a file by the bits of one of its three classes."""

    uid: int
    groups: frozenset[int]

    def may(self, uid: int, gid: int, mode: int) -> int:
        return (mode >> (6 if self.uid == uid else 3 if gid in self.groups else 0)) & 0o6


def who_may_after(folder: Path, old: os.stat_result) -> tuple[int, int, int] | None:
    """Owner, group and mode of what replaces such a file, made by one who may not give files away; None if refused."""
    path = folder / "new"
    with unprivileged():
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            inherit(fd, old)
            new = os.fstat(fd)
            return new.st_uid, new.st_gid, stat.S_IMODE(new.st_mode)
        except NotKeptError:
            return None
        finally:
            os.close(fd)
            path.unlink()


def keep_what_others_may(folder: Path) -> int:
    """Replace files of every mode and owner; return how many there were."""
    folder.chmod(0o777)
    ours = who_may_after(folder, old_file(US, folder.stat().st_gid, 0o600))
    assert ours is not None
    cases = 0
    for uid, gid, *bits in itertools.product((US, STRANGER), (ours[1], STRANGER), *[(0, 2, 4, 6)] * 3):
        mode = bits[0] << 6 | bits[1] << 3 | bits[2]
        new = who_may_after(folder, old_file(uid, gid, mode))
        cases += 1
        if new is None:
            require((uid, gid) != (US, ours[1]), f"mode {mode:o} of our own file was refused")
            continue
        for user, groups in itertools.product((STRANGER, 34567), ((), (ours[1],), (STRANGER,), (ours[1], STRANGER))):
            person = Person(user, frozenset(groups))
            before, after = person.may(uid, gid, mode), person.may(*new)
            where = f"{person} and a file of {uid}:{gid} {mode:o}, now {new[0]}:{new[1]} {new[2]:o}"
            if user != uid:  # who owns it could give themselves every right
                require(not after & ~before, f"{where}: gains")
            if user != uid or gid != new[1] or gid in groups:  # whose group is kept is taken to be in it
                require(not before & ~after & 0o4, f"{where}: loses it")
    return cases


def test_p06_mode_owner_and_symlinks_survive(promise: Account, tmp_path: Path) -> None:
    """Files of six modes under three umasks, ours and somebody else's, behind links or not, stay what they were."""
    cases = keep_what_was_set(tmp_path)
    promise.figure(f"cases {cases}, changed 0")
    for mutant in ("mode and owner forgotten", "link replaced"):
        with mutated(mutant), promise.mutant(mutant):
            keep_what_was_set(tmp_path)


def test_p06_where_owner_or_group_cannot_be_kept_nobody_gains_and_no_reader_loses(promise: Account) -> None:
    """A user who may not give files away replaces them, or is refused; what others may do with them says which."""
    with tempfile.TemporaryDirectory() as name:
        promise.figure(f"owner or group not to be kept: cases {keep_what_others_may(Path(name))}, violations 0")
        for mutant in ("mode kept for another group", "readers forgotten"):
            with mutated(mutant), promise.mutant(mutant):
                keep_what_others_may(Path(name))
