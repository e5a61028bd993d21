"""A file is replaced whole or not at all, and keeps its mode and owner."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capital_governor.adapters.atomic_replacement import replace, replace_all, sweep
from capital_governor.adapters.bounded_reading import NotAFile
from capital_governor.adapters.durability import SyncError
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.permissions import NotKeptError
from tests.rigs.odd_files import make_odd, names, open_files, unprivileged, within
from tests.rigs.patience import PATIENCE_SECONDS


def noting(note: Callable[[], object]) -> Callable[[], bool]:
    """No STOP; ``note`` is called each time that it is looked for."""

    def stopped() -> bool:
        note()
        return False

    return stopped


# --- writing ----------------------------------------------------------------------------------------------------------


def test_new_file_gets_0666_less_the_umask(tmp_path: Path) -> None:
    """A file that did not exist is created with the process's umask."""
    before = os.umask(0o027)
    try:
        replace(tmp_path / "new.json", b"{}")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.json").stat().st_mode) == 0o640
    assert names(tmp_path) == ["new.json"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o604])
def test_mode_and_owner_of_the_old_file_are_kept(tmp_path: Path, mode: int) -> None:
    """Mode survives a replacement whatever the umask, and so does a foreign owner where we may give files away."""
    target = tmp_path / "a.json"
    target.write_bytes(b"old")
    owner = (12345, 23456) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(target, *owner)
    target.chmod(mode)
    before = os.umask(0o077)
    try:
        replace(target, b"new")
    finally:
        os.umask(before)
    after = target.stat()
    assert (stat.S_IMODE(after.st_mode), (after.st_uid, after.st_gid)) == (mode, owner)
    assert target.read_bytes() == b"new"


def test_temporary_of_a_private_file_is_private_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What replaces a 0600 file is created without a moment in which others could open it."""
    target = tmp_path / "a.json"
    target.write_bytes(b"old")
    target.chmod(0o600)
    real, modes = os.open, []

    def spy(path: str | Path, flags: int, mode: int = 0o777) -> int:
        fd = real(path, flags, mode)
        modes.append(stat.S_IMODE(os.fstat(fd).st_mode) if flags & os.O_CREAT else None)
        return fd

    monkeypatch.setattr(os, "open", spy)
    replace(target, b"new")
    assert modes == [0o600, None]


def test_owner_that_cannot_be_kept_leaves_the_old_file() -> None:
    """Where a private file belongs to somebody else and may not be given back to them, nothing is replaced."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        target = folder / "a.json"
        target.write_bytes(b"old")
        target.chmod(0o600)
        if os.geteuid() == 0:
            with unprivileged(), pytest.raises(NotKeptError, match="uid 0, could not read it any more"):
                replace(target, b"new")
        else:  # without root no file of another owner can be made; the one of our own must go through
            replace(target, b"old")
        assert (target.read_bytes(), names(folder)) == (b"old", ["a.json"])


def test_symlink_survives_and_its_target_is_replaced(tmp_path: Path) -> None:
    """A symlink stays one, the real file in its own folder gets the content, mode and owner stay."""
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "target.json", tmp_path / "link.json"
    real.write_bytes(b"old")
    real.chmod(0o604)
    (tmp_path / "middle.json").symlink_to("real/target.json")
    link.symlink_to("middle.json")
    during: list[str] = []
    replace_all({link: b"new"}, stopped=noting(lambda: during.extend(names(real.parent))))
    assert (link.is_symlink(), link.readlink()) == (True, Path("middle.json"))
    assert (link.read_bytes(), real.read_bytes()) == (b"new", b"new")
    assert (real.is_symlink(), stat.S_IMODE(real.stat().st_mode)) == (False, 0o604)
    assert during[0].startswith(".target.json."), "the temporary belongs beside the real file, on its file system"
    assert names(tmp_path) == ["link.json", "middle.json", "real"]


def test_symlink_to_nothing_gets_its_target(tmp_path: Path) -> None:
    """A dangling symlink survives too, and the file that it names is created."""
    (tmp_path / "link.json").symlink_to("target.json")
    replace(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "target.json").read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["folder", "fifo", "socket", "loop"])
@pytest.mark.parametrize("through_link", [False, True])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str, through_link: bool) -> None:
    """Folder, FIFO, socket and a loop of symlinks are refused without blocking, and stay as they are."""
    odd, target = tmp_path / "odd", tmp_path / "odd"
    make_odd(kind, odd)
    if through_link:
        target = tmp_path / "link"
        target.symlink_to("odd")
    before = (names(tmp_path), odd.lstat().st_ino)
    with within(2), pytest.raises(NotAFile):
        replace(target, b"new")
    assert (names(tmp_path), odd.lstat().st_ino) == before


def test_an_error_before_the_rename_leaves_the_old_files_and_no_temporary(tmp_path: Path) -> None:
    """What ``stopped`` raises comes through, the old files stay and the temporaries are gone."""
    targets = [tmp_path / "a.json", tmp_path / "b.json"]
    for target in targets:
        target.write_bytes(b"old")
    seen: list[str] = []

    def refuse() -> bool:
        seen.extend(names(tmp_path))
        raise InterruptedError("STOP")

    before = open_files()
    with pytest.raises(InterruptedError, match="STOP"):
        replace_all(dict.fromkeys(targets, b"new"), stopped=refuse)
    assert len(seen) == 4, "both temporaries were there"
    assert [target.read_bytes() for target in targets] == [b"old", b"old"]
    assert (names(tmp_path), open_files()) == (["a.json", "b.json"], before)


def test_file_size_limit_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    """A disk that takes half of the content (EFBIG after a short write) costs neither the old file nor a leftover."""
    (tmp_path / "a.json").write_bytes(b"old")
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from capital_governor.adapters.atomic_replacement import replace\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: replace(Path(sys.argv[1]), b'x' * 5000)\n"
        "except OSError as error: print(error.errno)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a.json"], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == [str(errno.EFBIG)], done.stderr
    assert ((tmp_path / "a.json").read_bytes(), names(tmp_path)) == (b"old", ["a.json"])


def test_killed_writer_leaves_the_old_file_and_a_temporary_that_the_sweep_takes(paths: Paths) -> None:
    """Killed right before the rename: the old file is whole, the one leftover is ours and is swept."""
    paths.primary.write_bytes(b"old")
    script = (
        "import os, sys; from pathlib import Path\n"
        "from capital_governor.adapters.atomic_replacement import replace_all\n"
        "replace_all({Path(sys.argv[1]): b'new'}, stopped=lambda: os.kill(os.getpid(), 9))"
    )
    done = subprocess.run([sys.executable, "-c", script, paths.primary], check=False, timeout=PATIENCE_SECONDS)
    assert done.returncode == -signal.SIGKILL
    assert (paths.primary.read_bytes(), len(names(paths.folder))) == (b"old", 2)
    assert len(paths.sweep().gone) == 1
    assert (paths.primary.read_bytes(), names(paths.folder)) == (b"old", [paths.primary.name])


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes a few bytes at a time gets them all."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:7])))
    replace(tmp_path / "a.json", bytes(range(256)))
    assert (tmp_path / "a.json").read_bytes() == bytes(range(256))


# --- durability -------------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what reaches the system, descriptors by what they are open on: file or folder."""
    done: list[str] = []

    def kind(fd: int) -> str:
        return "folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"

    def record(name: str, label: Callable[..., str]) -> None:
        real = getattr(os, name)

        def spy(*args: Any, **keywords: Any) -> Any:
            result = real(*args, **keywords)
            done.append(label(*args))
            return result

        monkeypatch.setattr(os, name, spy)

    record("write", lambda fd, _: f"write {kind(fd)}")
    record("fsync", lambda fd: f"fsync {kind(fd)}")
    record("fchmod", lambda *_: "fchmod")
    record("replace", lambda *_: "replace")
    return done


def test_content_is_synced_before_the_rename_and_the_folder_after_it(tmp_path: Path, calls: list[str]) -> None:
    """The order is mode, write, fsync of the file, the caller's last look, rename, fsync of the folder."""
    (tmp_path / "a.json").write_bytes(b"old")
    replace_all({tmp_path / "a.json": b"new"}, stopped=noting(lambda: calls.append("look")))
    assert calls == ["fchmod", "write file", "fsync file", "look", "replace", "fsync folder"]


def test_files_in_one_folder_cost_one_fsync_of_it(tmp_path: Path, calls: list[str]) -> None:
    """All contents are synced before the first rename, and the folder once after the last."""
    files = {tmp_path / "a.json": b"1", tmp_path / "b.json": b"2"}
    assert replace_all(files, stopped=noting(lambda: calls.append("look"))) == dict.fromkeys(files, "")
    assert calls == [*["write file", "fsync file"] * 2, *["look", "replace"] * 2, "fsync folder"]


def test_files_in_two_folders_cost_one_fsync_of_each(tmp_path: Path, calls: list[str]) -> None:
    """A symlink's target counts as in its own folder."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "b.json").symlink_to("elsewhere/real.json")
    replace_all({tmp_path / "a.json": b"1", tmp_path / "b.json": b"2"})
    assert calls[-4:] == ["replace", "replace", "fsync folder", "fsync folder"]
    assert (tmp_path / "elsewhere" / "real.json").read_bytes() == b"2"


def test_nothing_is_synced_where_durability_is_not_asked_for(tmp_path: Path, calls: list[str]) -> None:
    """The status file costs no fsync, and is replaced as atomically."""
    replace(tmp_path / "a.json", b"new", durable=False)
    assert calls == ["write file", "replace"]


def test_temporary_is_opened_exclusively_and_never_through_a_symlink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary's name is unpredictable, of our pattern, and what is planted there is not followed."""
    real, opened = os.open, []

    def spy(path: str | Path, flags: int, mode: int = 0o777) -> int:
        opened.append((Path(path).name, flags))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", spy)
    for _ in range(50):
        replace(tmp_path / "a.json", b"new", durable=False)
    needed = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    assert len({name for name, _ in opened}) == 50
    assert all(name.startswith(".a.json.") and len(name) == 28 and name.endswith(".tmp") for name, _ in opened)
    assert all(flags & needed == needed for _, flags in opened)


@pytest.mark.parametrize("on_folder", [False, True])
def test_failed_fsync_starts_over_once_with_a_new_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_folder: bool
) -> None:
    """After EIO from fsync (of file or folder) the whole replacement is made again, never the same file synced."""
    (tmp_path / "a.json").write_bytes(b"old")
    real, failures, temporaries = os.fsync, [0], []

    def fails_once(fd: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        if not is_folder:
            temporaries.append(names(tmp_path)[0])
        if is_folder == on_folder and not failures[0]:
            failures[0] += 1
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fsync", fails_once)
    replace(tmp_path / "a.json", b"new")
    assert failures == [1]
    assert (len(temporaries), len(set(temporaries))) == (2, 2)
    assert ((tmp_path / "a.json").read_bytes(), names(tmp_path)) == (b"new", ["a.json"])


def test_a_folder_whose_fsync_fails_starts_over_with_all_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After EIO from the folder's fsync each of its files is written anew; a second EIO is each one's error."""
    files = {tmp_path / "a.json": b"1", tmp_path / "b.json": b"2"}
    real, failures, synced = os.fsync, 1, []

    def fails(fd: int) -> None:
        nonlocal failures
        if stat.S_ISDIR(os.fstat(fd).st_mode) and failures:
            failures -= 1
            raise OSError(errno.EIO, "Input/output error")
        synced.append(os.fstat(fd).st_ino)
        real(fd)

    monkeypatch.setattr(os, "fsync", fails)
    assert replace_all(files) == dict.fromkeys(files, "")
    assert (failures, len(synced)) == (0, 5)
    assert [path.stat().st_ino for path in files] == synced[2:4]
    failures = 2
    done = replace_all(files)
    assert [type(said) for said in done.values()] == [SyncError, SyncError]
    assert [path.read_bytes() for path in files] == [b"1", b"2"]
    assert names(tmp_path) == ["a.json", "b.json"]


def test_a_content_whose_fsync_fails_once_is_still_renamed_in_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first file is written anew before any rename, so that the second never appears before it."""
    files = {tmp_path / "a.json": b"1", tmp_path / "b.json": b"2"}
    real, failures, there = os.fsync, 1, []

    def fails_once(fd: int) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fsync", fails_once)
    replace_all(files, stopped=noting(lambda: there.append([path.name for path in files if path.exists()])))
    assert there == [[], ["a.json"]]
    assert [path.read_bytes() for path in files] == [b"1", b"2"]


def test_fsync_that_keeps_failing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the second EIO the error is the caller's, the old file stays and both temporaries are gone."""
    (tmp_path / "a.json").write_bytes(b"old")
    inodes: set[int] = set()

    def fails(fd: int) -> None:
        inodes.add(os.fstat(fd).st_ino)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    before = open_files()
    with pytest.raises(OSError, match="Input/output error") as caught:
        replace(tmp_path / "a.json", b"new")
    assert caught.value.errno == errno.EIO
    assert inodes, "fsync was reached"
    assert ((tmp_path / "a.json").read_bytes(), names(tmp_path), open_files()) == (b"old", ["a.json"], before)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM])
def test_file_system_that_cannot_sync_folders_is_put_up_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A folder's fsync that is refused for ever (shared folders of virtual machines) is told, and no failure."""
    real, refused = os.fsync, []

    def no_folders(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            refused.append(fd)
            raise OSError(number, os.strerror(number))
        real(fd)

    monkeypatch.setattr(os, "fsync", no_folders)
    said = replace(tmp_path / "a.json", b"new")
    assert (len(refused), (tmp_path / "a.json").read_bytes()) == (1, b"new")
    assert said == (
        f"{tmp_path / 'a.json'} was written, but the folder {tmp_path} cannot be synced ({errno.errorcode[number]}),"
        " so that a power loss may undo it"
    )


def test_a_folder_that_may_not_be_opened_is_written_all_the_same() -> None:
    """A folder that its writer may enter and not read cannot be synced, which is told; the file is there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o733)
        with unprivileged():
            if os.access(folder, os.R_OK, effective_ids=True):
                pytest.skip("the folder's owner reads it")
            said = replace(folder / "a.json", b"new")
        assert f"the folder {folder} cannot be synced (EACCES)" in said
        assert (folder / "a.json").read_bytes() == b"new"


def test_a_file_system_that_cannot_sync_files_is_put_up_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without fsync takes the file, and what that means is told."""

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "fsync", refuse)
    said = replace(tmp_path / "a.json", b"new")
    assert "its file system cannot sync files (ENOSYS), so that a power loss may undo it; the folder" in said
    assert (tmp_path / "a.json").read_bytes() == b"new"


def test_leftover_that_cannot_be_removed_is_told_with_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even the clean-up fails, the first error still comes through, with a note about the leftover."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only")

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(OSError, match="Read-only") as caught:
        replace(tmp_path / "a.json", b"new")
    assert "was left behind: Read-only" in caught.value.__notes__[0]


# --- sweeping ---------------------------------------------------------------------------------------------------------


def test_sweep_takes_only_our_own_pattern(tmp_path: Path) -> None:
    """Leftovers of exactly our pattern go; everything that merely looks like one stays."""
    ours = ".a.json.0123456789abcdef.tmp"
    others = [
        "a.json",
        ".a.json.0123456789abcdef.tmp\n",
        ".a.json.0123456789abcde.tmp",
        ".a.json.0123456789ABCDEF.tmp",
        ".a.json.0123456789abcdef.tmp.bak",
        "x.a.json.0123456789abcdef.tmp",
        ".b.json.0123456789abcdef.tmp",
        ".aXjson.0123456789abcdef.tmp",
        "..0123456789abcdef.tmp",
    ]
    for name in [ours, *others]:
        (tmp_path / name).write_bytes(b"")
    make_odd("folder", tmp_path / ".a.json.0000000000000001.tmp")
    make_odd("fifo", tmp_path / ".a.json.0000000000000002.tmp")
    (tmp_path / ".a.json.0000000000000003.tmp").symlink_to("a.json")
    before = names(tmp_path)
    assert sweep(tmp_path, ["a.json"]) == ((tmp_path / ours,), "")
    assert names(tmp_path) == [name for name in before if name != ours]
    assert sweep(tmp_path, []) == ((), "")
    assert sweep(tmp_path / "gone", ["a.json"]) == ((), "")


def test_leftovers_that_cannot_be_deleted_are_told() -> None:
    """Another user's leftover in a folder like /tmp, and a folder that may not be read: told, never raised."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mine, others = (folder / f".a.json.{number:016x}.tmp" for number in (1, 2))
        others.write_bytes(b"half")
        folder.chmod(0o1777)
        with unprivileged():
            mine.write_bytes(b"half")
            swept = sweep(folder, ["a.json"])
        if os.geteuid() == 0:
            assert swept == ((mine,), f"{others} was left behind and cannot be deleted: Operation not permitted.")
            folder.chmod(0o733)
            with unprivileged():
                gone, problem = sweep(folder, ["a.json"])
            assert (gone, problem) == (
                (),
                f"{folder} could not be searched for leftover temporary files: Permission denied.",
            )
        else:
            assert swept == ((mine, others), "")
