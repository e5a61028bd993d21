"""Mode, owner and group of what replaces a file, on file systems and for users that may not keep all of them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from capital_governor.adapters.atomic_replacement import replace
from capital_governor.adapters.file_convergence import FileOutcome, converge
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.permissions import NotKeptError, inherit
from capital_governor.journal.sqlite.file import set_aside
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from tests.faults.publisher import undated
from tests.faults.roots import Roots, pair
from tests.faults.strace import Publisher, fail, which
from tests.faults.surroundings import with_own_mounts
from tests.promises.ledger import REPOSITORY
from tests.rigs.odd_files import STRANGER, names, never, old_file, open_folder, unprivileged
from tests.rigs.patience import PATIENCE_SECONDS

REFUSALS: Final = ("EPERM", "EOPNOTSUPP", "ENOSYS", "EINVAL")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in which every user may write."""
    with open_folder(0o777) as made:
        yield made


def replaced(folder: Path, mode: int, *, owner_kept: bool, group_kept: bool) -> tuple[str, str]:
    """What becomes of a file of this mode: the mode and what is said, or "refused" and why."""
    with unprivileged():
        path = folder / "new"
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            uid = os.geteuid() if owner_kept else STRANGER
            gid = os.fstat(fd).st_gid if group_kept else STRANGER
            said = inherit(fd, old_file(uid, gid, mode))
            return f"{stat.S_IMODE(os.fstat(fd).st_mode):04o}", said
        except NotKeptError as error:
            return "refused", f"{error.strerror}: {error.remedy}"
        finally:
            os.close(fd)
            path.unlink()


@pytest.mark.parametrize(
    ("owner_kept", "group_kept", "mode", "becomes", "says"),
    [
        (True, True, 0o640, "0640", ""),
        (False, True, 0o644, "0644", f"could not keep its owner (uid {STRANGER}, now "),
        (False, True, 0o640, "0640", f"could not keep its owner (uid {STRANGER}, now "),
        (False, True, 0o600, "refused", f"its owner, uid {STRANGER}, could not read it any more"),
        (False, False, 0o644, "0644", f"and group (gid {STRANGER}, now "),
        (False, False, 0o640, "refused", f"uid {STRANGER}, could not read it any more"),
        (False, False, 0o600, "refused", "run the governor as that user, or let everybody read the file (chmod a+r)"),
        (True, False, 0o664, "0644", "and mode (0664, now 0644)"),
        (True, False, 0o660, "refused", f"its group, gid {STRANGER}, could not read it any more"),
        (True, False, 0o640, "refused", "put the governor's user into that group, or let everybody read"),
        (True, False, 0o604, "refused", "who can read it now could not any more"),
        (True, False, 0o600, "0600", f"could not keep its group (gid {STRANGER}, now "),
    ],
)
def test_who_cannot_keep_the_owner_or_group(
    folder: Path, owner_kept: bool, group_kept: bool, mode: int, becomes: str, says: str
) -> None:
    """Where a chown is refused, nobody gains and no reader loses: the rest is a warning, or the write is refused."""
    became, said = replaced(folder, mode, owner_kept=owner_kept, group_kept=group_kept)
    assert (became, says in said) == (becomes, True), said
    assert bool(said) == bool(says)


def test_a_group_of_ours_is_kept_though_the_owner_is_not(folder: Path) -> None:
    """A file of another user that a group of ours may read stays readable by that group, where our first is another."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be in a second group")
    target = folder / "a.json"
    target.write_bytes(b"old")
    os.chown(target, STRANGER, 54321)
    target.chmod(0o640)
    groups = os.getgroups()
    os.setgroups([*groups, 54321])
    try:
        with unprivileged():
            result = replace(target, b"new")
    finally:
        os.setgroups(groups)
    assert result.startswith(f"{target} was written, but it could not keep its owner (uid {STRANGER}, now 65534)")
    found = target.stat()
    assert (found.st_gid, stat.S_IMODE(found.st_mode), target.read_bytes()) == (54321, 0o640, b"new")


def test_an_unreadable_primary_of_another_user_stays_and_is_told(folder: Path) -> None:
    """A private file of another user in our folder is not taken from them: the write fails, with both ways out."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a file of another user")
    paths = Paths(folder)
    (folder / "runtime").mkdir()
    (folder / "runtime").chmod(0o777)
    paths.primary.write_bytes(b"old")
    os.chown(paths.primary, STRANGER, STRANGER)
    paths.primary.chmod(0o600)
    with unprivileged():
        done = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert done.primary.outcome is FileOutcome.FAILED
    assert done.primary.problem == (
        f"{paths.primary} could not be written: its owner, uid {STRANGER}, could not read it any more, since it cannot"
        " be given back (EPERM); run the governor as that user, or let everybody read the file (chmod a+r),"
        " the next cycle tries again."
    )
    assert paths.primary.read_bytes() == b"old"
    paths.primary.chmod(0o604 | 0o040)
    with unprivileged():
        done = converge(paths, b"1", b"2", policy="assert", stopped=never)
        again = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert (done.primary.outcome, paths.primary.read_bytes()) == (FileOutcome.WRITTEN, b"1")
    assert done.warning == done.primary.warning
    assert f"owner (uid {STRANGER}, now 65534)" in done.warning
    assert (again.primary.outcome, again.warning) == (FileOutcome.UNCHANGED, "")
    assert names(paths.folder) == [paths.override.name, paths.primary.name]


def test_a_file_of_another_user_in_a_sticky_folder_is_told(folder: Path) -> None:
    """In a folder like /tmp only a file's owner may replace it: the sentence says whose the file or folder must be."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a file of another user")
    paths = Paths(folder)
    (folder / "runtime").mkdir()
    (folder / "runtime").chmod(0o1777)
    paths.primary.write_bytes(b"old")
    paths.primary.chmod(0o644)
    with unprivileged():
        done = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert (
        "(EPERM); give the file to the governor's user, or take the sticky bit off its folder" in done.primary.problem
    )
    assert (done.override.outcome, paths.primary.read_bytes()) == (FileOutcome.WRITTEN, b"old")
    assert names(paths.folder) == [paths.override.name, paths.primary.name]


# --- refusals of the file system, made by strace ----------------------------------------------------------------------


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return Roots.below(tmp_path)


def test_refused_chmod_costs_no_publication(roots: Roots) -> None:
    """If fchmod is refused, both files are still written and keep their modes."""
    with Publisher() as publisher:
        for error in REFUSALS:
            root = roots.fresh()
            for mode, path in zip((0o644, 0o640), (Paths(root).primary, Paths(root).override), strict=True):
                path.chmod(mode)
            ended = publisher.run(root, fail("fchmod", error, "1+"), cycles=2, started=True)
            assert (ended.code, ended.fired > 0) == (0, True), error
            new = [undated((content or b"").decode()) for content in roots.new]
            assert [undated((content or b"").decode()) for content in pair(root)] == new, error
            modes = [stat.S_IMODE(path.stat().st_mode) for path in (Paths(root).primary, Paths(root).override)]
            assert modes == [0o644, 0o640], error
            assert not list((root / "runtime").glob(".*")), error


def test_nothing_is_changed_where_nothing_differs(roots: Roots) -> None:
    """Where a new file has mode and owner of the old one by itself, as on a network share, neither is asked for."""
    root = roots.fresh()
    for path in (Paths(root).primary, Paths(root).override, Paths(root).status):
        path.chmod(0o600)
    with Publisher() as publisher:
        called = publisher.calls(root, ("fchmod", "fchown", "rename"), started=True)
    assert called == {"rename": 3}


def test_refused_sync_of_a_folder_is_no_failed_write(roots: Roots) -> None:
    """After the rename the agents see the file: a folder that cannot be synced leaves nothing to be done again."""
    with Publisher() as publisher:
        for error in (*REFUSALS, "EBADF", "EACCES"):
            root = roots.fresh()
            ended = publisher.run(root, fail("fsync", error, "3"), started=True)  # the folder's, after both files'
            assert (ended.code, ended.fired) == (0, 1), error
            journal = open_sqlite(root / "state/capital_governor.sqlite3", read_only=True)
            try:
                assert journal.unreached("live") is None, f"{error}: the move counts as unwritten"
            finally:
                journal.close()


def test_an_order_of_root_that_cannot_be_given_to_the_governors_user_warns(tmp_path: Path) -> None:
    """Where chown is refused the order is put down, and it is said whose governor cannot read it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, whose commands hand over what they make")
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "capital_governor_status.json").write_text("{}")
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", STRANGER, STRANGER)
    command = [sys.executable, "-P", "-m", "capital_governor", "hold", "--root", str(tmp_path)]
    traced = [which("strace"), "-f", "-qq", "-o", "/dev/null", "-e", "trace=lchown,fchownat"]
    done = subprocess.run(
        [*traced, "-e", "inject=lchown,fchownat:error=EPERM", *command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "\nhold by" in done.stdout) == (0, True), done.stderr
    journal = tmp_path / "state/capital_governor.sqlite3"
    assert f"warning: {journal} could not be given to uid {STRANGER}, who owns its folder" in done.stderr
    set_aside(journal, 0.0)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stderr, journal.stat().st_uid) == ("", STRANGER)


# --- mounts -----------------------------------------------------------------------------------------------------------

MOUNTED: Final = """
import json, subprocess, sys
from pathlib import Path
from tests.faults.publisher import NEXT, publish_first, start_late

root = Path(sys.argv[1])
publish_first(root)
primary = root / "runtime/capital_governor_allocations.json"
before = primary.read_bytes()
(root / "other.json").write_bytes(before)
subprocess.run(["mount", "--bind", str(root / "other.json"), str(primary)], check=True)
rig = start_late(root)
outcome = rig.see(NEXT)
print(json.dumps({"problem": outcome.convergence.primary.problem, "same": primary.read_bytes() == before,
                  "left": [path.name for path in (root / "runtime").glob(".*")]}))
rig.journal.close()
"""


def in_mounts(script: str, *words: Path | str) -> str:
    """Run Python in a mount namespace of its own, where its mounts end with it, and return what it printed."""
    done = subprocess.run(
        [*with_own_mounts(), sys.executable, "-c", script, *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_that_is_mounted_by_itself_is_told(tmp_path: Path) -> None:
    """A bind mount of one file (a container's) cannot be replaced: it stays, and the folder is to be mounted."""
    said = json.loads(in_mounts(MOUNTED, tmp_path).splitlines()[-1])
    assert "(EBUSY); mount the file's folder rather than the file" in said["problem"]
    assert (said["same"], said["left"]) == (True, [])
