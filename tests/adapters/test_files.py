"""The files of one root: whole or not at all, bounded, never a stranger's content taken for ours."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from capital_governor.adapters import files
from capital_governor.adapters.files import NotAFile, Outcome, Paths, converge, read, replace, sweep
from capital_governor.adapters.rights import NotKeptError
from tests.adapters.documents import document, encoded

NOBODY = 65534
STRANGER = 23456
"""The number of a user and of a group that the one who writes is not in."""


# --- builders ---------------------------------------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def never() -> bool:
    return False


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Turn a call that blocks into a failure."""

    def expired(*_: object) -> None:
        raise TimeoutError("it blocked")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Take root's way around permissions away, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "runtime").mkdir()
    return Paths(tmp_path)


def make_odd(kind: str, path: Path) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        folder = os.open(path.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{folder}/{path.name}")  # a socket's path may have 107 characters only
        os.close(folder)
    else:
        path.symlink_to(path.name)


# --- where ------------------------------------------------------------------------------------------------------------


def test_paths_are_those_that_the_readers_know() -> None:
    """The three files lie in runtime/ under the root, and those of a dry run in a folder of their own."""
    live, dry = Paths(Path("/nl")), Paths(Path("/nl"), dry_run=True)
    assert [str(path) for path in (live.primary, live.override, live.status)] == [
        "/nl/runtime/capital_governor_allocations.json",
        "/nl/runtime/allocations_override.json",
        "/nl/runtime/capital_governor_status.json",
    ]
    assert {path.parent for path in (dry.primary, dry.override, dry.status)} == {Path("/nl/runtime/dry_run")}


def test_missing_folders_are_made_but_not_the_root(tmp_path: Path) -> None:
    """runtime/ and runtime/dry_run/ are created; a root that is gone (a disk not mounted) is an error."""
    Paths(tmp_path, dry_run=True).make_folder()
    assert (tmp_path / "runtime" / "dry_run").is_dir()
    with pytest.raises(FileNotFoundError):
        Paths(tmp_path / "gone").make_folder()


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
    replace(link, b"new", before_rename=lambda: during.extend(names(real.parent)))
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


def test_error_before_the_rename_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    """What before_rename raises comes through, the old file stays and the temporary is gone."""
    target = tmp_path / "a.json"
    target.write_bytes(b"old")
    seen: list[str] = []

    def refuse() -> None:
        seen.extend(names(tmp_path))
        raise InterruptedError("STOP")

    before = open_files()
    with pytest.raises(InterruptedError, match="STOP"):
        replace(target, b"new", before_rename=refuse)
    assert len(seen) == 2, "the temporary was there"
    assert (target.read_bytes(), names(tmp_path), open_files()) == (b"old", ["a.json"], before)


def test_file_size_limit_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    """A disk that takes half of the content (EFBIG after a short write) costs neither the old file nor a leftover."""
    (tmp_path / "a.json").write_bytes(b"old")
    script = (
        "import resource, sys; from pathlib import Path; from capital_governor.adapters.files import replace\n"
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
        "import os, sys; from pathlib import Path; from capital_governor.adapters.files import replace\n"
        "replace(Path(sys.argv[1]), b'new', before_rename=lambda: os.kill(os.getpid(), 9))"
    )
    done = subprocess.run([sys.executable, "-c", script, paths.primary], check=False, timeout=60)
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
    replace(tmp_path / "a.json", b"new", before_rename=lambda: calls.append("look"))
    assert calls == ["fchmod", "write file", "fsync file", "look", "replace", "fsync folder"]


def test_new_folder_is_synced_into_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder that had to be made survives a power loss; one that is there already costs nothing."""
    real, synced = os.fsync, []

    def spy(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        real(fd)

    monkeypatch.setattr(os, "fsync", spy)
    paths = Paths(tmp_path, dry_run=True)
    paths.make_folder()
    paths.make_folder()
    assert synced == [tmp_path.stat().st_ino, (tmp_path / "runtime").stat().st_ino]


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

    def refuse() -> None:
        monkeypatch.setattr(os, "unlink", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only")))
        raise InterruptedError("STOP")

    with pytest.raises(InterruptedError, match="STOP") as caught:
        replace(tmp_path / "a.json", b"new", before_rename=refuse)
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


def test_sweep_of_a_root_goes_where_the_real_files_are(paths: Paths, tmp_path: Path) -> None:
    """Temporaries lie beside a symlink's real file, under its real name, and are found there."""
    (tmp_path / "real").mkdir()
    paths.override.symlink_to(tmp_path / "real" / "target.json")
    leftovers = (
        paths.folder / ".capital_governor_allocations.json.0123456789abcdef.tmp",
        tmp_path / "real" / ".target.json.0123456789abcdef.tmp",
        paths.folder / ".capital_governor_status.json.0123456789abcdef.tmp",
    )
    for leftover in leftovers:
        leftover.write_bytes(b"")
    assert paths.sweep() == (leftovers, "")
    assert names(tmp_path / "real") == []


# --- reading ----------------------------------------------------------------------------------------------------------


def test_read_is_none_only_for_what_is_missing(tmp_path: Path) -> None:
    """A missing file is None, an empty one is empty, a folder that is a file is an error."""
    (tmp_path / "empty").write_bytes(b"")
    assert read(tmp_path / "gone") is None
    assert read(tmp_path / "empty") == b""
    with pytest.raises(NotADirectoryError):
        read(tmp_path / "empty" / "x")


def test_read_has_a_bound(tmp_path: Path) -> None:
    """A file of the permitted length is read, one byte more is an error."""
    (tmp_path / "a").write_bytes(b"12345")
    assert read(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="longer than 4 bytes") as caught:
        read(tmp_path / "a", 4)
    assert caught.value.errno == errno.EFBIG


def test_read_of_an_endless_device_is_refused() -> None:
    """/dev/zero behind the name is refused rather than read."""
    with within(2), pytest.raises(NotAFile):
        read(Path("/dev/zero"))


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_read_neither_blocks_nor_leaks(tmp_path: Path, kind: str) -> None:
    """What is no file is refused at once, and its descriptor closed."""
    make_odd(kind, tmp_path / "odd")
    before = open_files()
    with within(2), pytest.raises(NotAFile):
        read(tmp_path / "odd")
    assert open_files() == before


# --- converging -------------------------------------------------------------------------------------------------------

RIVAL = encoded({"allocations": {"BTC-USD": 0.6, "AAPL": 0.4}, "source": "rl_inference"})


def fingerprint(path: Path) -> tuple[int, int, bytes]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, path.read_bytes()


def test_first_publication_writes_both_files_and_makes_their_folder(tmp_path: Path) -> None:
    """With nothing there, both files are written, folder included."""
    paths = Paths(tmp_path, dry_run=True)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert (result.primary.outcome, result.override.outcome) == (Outcome.WRITTEN, Outcome.WRITTEN)
    assert (result.found, result.rival) == (None, False)
    assert (paths.primary.read_bytes(), paths.override.read_bytes()) == (b"1", b"2")


def test_equal_files_are_not_touched(paths: Paths) -> None:
    """What is equal already keeps inode and time stamp, and STOP is not even asked for."""
    converge(paths, b"1", b"2", policy="assert", stopped=never)
    before = [fingerprint(path) for path in (paths.primary, paths.override)]
    result = converge(paths, b"1", b"2", policy="assert", stopped=lambda: pytest.fail("nothing is to be written"))
    assert (result.primary.outcome, result.override.outcome) == (Outcome.UNCHANGED, Outcome.UNCHANGED)
    assert [fingerprint(path) for path in (paths.primary, paths.override)] == before


def test_longer_file_that_begins_like_ours_is_not_equal(paths: Paths) -> None:
    """Content that goes on after what is wanted is rewritten."""
    paths.primary.write_bytes(b"1" + b" ")
    assert converge(paths, b"1", b"2", policy="off", stopped=never).primary.outcome is Outcome.WRITTEN
    assert paths.primary.read_bytes() == b"1"


def test_primary_is_written_before_the_override(paths: Paths) -> None:
    """A reader never finds the new override beside the old primary."""
    order: list[tuple[bool, bool]] = []

    def look() -> bool:
        order.append((paths.primary.exists(), paths.override.exists()))
        return False

    converge(paths, b"1", b"2", policy="assert", stopped=look)
    assert order == [(False, False), (False, False), (True, False), (True, False)]


@pytest.mark.parametrize(
    ("asked", "written"), [(1, []), (2, []), (3, ["primary"]), (4, ["primary"]), (5, ["primary", "override"])]
)
def test_stop_is_heeded_before_each_write_and_each_rename(paths: Paths, asked: int, written: list[str]) -> None:
    """A STOP that appears at any of the four questions stops everything after it, and leaves no temporary."""
    paths.primary.write_bytes(b"old")
    paths.override.write_bytes(b"old")
    answers = iter([False] * (asked - 1) + [True] + [False] * 9)  # and a STOP that is gone at once still holds
    result = converge(paths, b"1", b"2", policy="assert", stopped=lambda: next(answers))
    found = {"primary": paths.primary.read_bytes() == b"1", "override": paths.override.read_bytes() == b"2"}
    assert [name for name, new in found.items() if new] == written
    assert names(paths.folder) == [paths.override.name, paths.primary.name]
    outcomes = {"primary": result.primary.outcome, "override": result.override.outcome}
    assert {name for name, outcome in outcomes.items() if outcome is Outcome.STOPPED} == set(outcomes) - set(written)


def test_rival_is_overwritten_and_named_under_assert(paths: Paths) -> None:
    """Under assert another writer's override is rewritten, and the result says whose it was."""
    paths.override.write_bytes(RIVAL)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert (result.override.outcome, result.found, result.rival) == (Outcome.WRITTEN, "rl_inference", True)
    assert paths.override.read_bytes() == b"2"


def test_rival_is_only_told_under_report(paths: Paths) -> None:
    """Under report another writer's override stays, as does a missing one; the result says that it differs."""
    missing = converge(paths, b"1", b"2", policy="report", stopped=never)
    assert (missing.override.outcome, missing.found) == (Outcome.DIFFERS, None)
    assert not paths.override.exists()
    paths.override.write_bytes(RIVAL)
    result = converge(paths, b"1", b"2", policy="report", stopped=never)
    assert (result.override.outcome, result.found, result.rival) == (Outcome.DIFFERS, "rl_inference", True)
    assert paths.override.read_bytes() == RIVAL


def test_override_is_not_even_read_under_off(paths: Paths) -> None:
    """Under off the override may be anything at all."""
    make_odd("fifo", paths.override)
    result = converge(paths, b"1", b"2", policy="off", stopped=never)
    assert (result.primary.outcome, result.override.outcome) == (Outcome.WRITTEN, Outcome.SKIPPED)


@pytest.mark.parametrize(
    ("content", "found", "rival"),
    [
        (encoded(document(generation=40)), "capital_governor", False),
        (encoded({"source": "strategy_lab\x1b[31m\n" + "x" * 500}), "strategy_lab[31m" + "x" * 24, True),
        (encoded({"source": 7}), "", True),
        (b'{"source": "rl_inf', "", True),
        (b"", "", True),
    ],
    ids=["our own older one", "escapes and length", "no text", "torn", "empty"],
)
def test_other_writers_are_told_from_our_own_older_content(
    paths: Paths, content: bytes, found: str, rival: bool
) -> None:
    """Our previous generation is no rival; everything else is, and its name is short and printable."""
    paths.override.write_bytes(content)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert (result.found, result.rival, paths.override.read_bytes()) == (found, rival, b"2")


def test_override_of_any_length_is_replaced(paths: Paths) -> None:
    """A file that is too long to be read is a rival's, and is replaced like any other."""
    with paths.override.open("wb") as file:
        file.truncate(files.MAX_BYTES * 4)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert (result.override.outcome, result.rival) == (Outcome.WRITTEN, True)


@pytest.mark.parametrize("kind", ["folder", "fifo", "loop"])
@pytest.mark.parametrize("bad", ["primary", "override"])
def test_failure_of_one_file_does_not_stop_the_other(paths: Paths, kind: str, bad: str) -> None:
    """What is no file is told in a sentence that names it and the next step, and the other file is written."""
    broken, sound = (paths.primary, paths.override) if bad == "primary" else (paths.override, paths.primary)
    make_odd(kind, broken)
    with within(2):
        result = converge(paths, b"1", b"1", policy="assert", stopped=never)
    failed, written = (result.primary, result.override) if bad == "primary" else (result.override, result.primary)
    assert (failed.outcome, written.outcome, sound.read_bytes()) == (Outcome.FAILED, Outcome.WRITTEN, b"1")
    assert str(broken) in failed.problem
    assert "not a file" in failed.problem
    assert "move it away" in failed.problem


def test_failure_names_file_error_and_next_step(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is reported with the file's name, the error and what to do; the old files stay."""
    paths.primary.write_bytes(b"old")
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert result.primary.problem == (
        f"{paths.primary} could not be written: No space left on device (ENOSPC); free some space, "
        "the next cycle tries again."
    )
    assert (result.override.outcome, paths.primary.read_bytes()) == (Outcome.FAILED, b"old")
    assert names(paths.folder) == [paths.primary.name]
    monkeypatch.undo()
    assert converge(paths, b"1", b"2", policy="assert", stopped=never).primary.outcome is Outcome.WRITTEN


def test_report_tells_an_override_that_cannot_be_read(paths: Paths) -> None:
    """Under report a folder in the override's place is a failure, not a difference."""
    make_odd("folder", paths.override)
    result = converge(paths, b"1", b"2", policy="report", stopped=never)
    assert result.override.outcome is Outcome.FAILED
    assert "could not be read" in result.override.problem


def test_runtime_that_is_a_file_is_told(tmp_path: Path) -> None:
    """A file in the place of the folder fails both, and nothing is raised."""
    (tmp_path / "runtime").write_bytes(b"")
    result = converge(Paths(tmp_path), b"1", b"2", policy="assert", stopped=never)
    assert "move away what is in the place of its folder" in result.primary.problem
    assert result.override.outcome is Outcome.FAILED


def test_folder_that_may_not_be_written_is_told() -> None:
    """Without the right to write, the sentence says whose right is missing where."""
    root = Path(tempfile.mkdtemp())
    try:
        (root / "runtime").mkdir()
        root.chmod(0o755)
        (root / "runtime").chmod(0o555)
        with unprivileged():
            result = converge(Paths(root), b"1", b"2", policy="assert", stopped=never)
        assert f"(EACCES); let the governor's user write to the folder {root / 'runtime'}," in result.primary.problem
    finally:
        (root / "runtime").chmod(0o755)
        shutil.rmtree(root)


def test_a_name_that_is_too_long_is_told(paths: Paths) -> None:
    """A symlink to a name that leaves the temporary file no room: the sentence says what is to be shorter."""
    paths.primary.symlink_to("x" * 250)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert "(ENAMETOOLONG); give it, or what its symlink leads to, a shorter name" in result.primary.problem
    assert result.override.outcome is Outcome.WRITTEN


def test_an_override_that_may_not_be_read_is_told() -> None:
    """Under report the remedy for a file that cannot be read is the right to read it."""
    with tempfile.TemporaryDirectory() as name:
        paths = Paths(Path(name))
        Path(name).chmod(0o755)
        paths.make_folder()
        paths.folder.chmod(0o777)
        paths.override.write_bytes(b"{}")
        paths.override.chmod(0)
        with unprivileged():
            result = converge(paths, b"1", b"2", policy="report", stopped=never)
        assert (
            "could not be read: Permission denied (EACCES); let the governor's user read it" in result.override.problem
        )


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "remount the file system writable"),
        (errno.EDQUOT, "raise the quota"),
        (errno.ELOOP, "remove the loop of symlinks"),
        (errno.ETXTBSY, "end the program that is run from this file"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ESTALE, "mount the network share again"),
        (errno.EXDEV, "on one file system"),
        (errno.ENOTCONN, "mount the file system again"),
        (errno.ENOSYS, "on a local disk"),
        (errno.ENOTSUP, "on a local disk"),
        (errno.EPERM, "lsattr shows them"),
    ],
)
def test_each_refusal_has_its_remedy(paths: Paths, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str) -> None:
    """Whatever the rename is refused with, the sentence names the file and what a person does about that."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), source, None, target)

    monkeypatch.setattr(os, "replace", refuse)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert result.primary.problem.startswith(f"{paths.primary} could not be written: {os.strerror(number)} (")
    assert remedy in result.primary.problem
    assert names(paths.folder) == []
