"""Replace a file atomically: a reader, or a start after a power loss, finds the whole old or the whole new content.

All functions are synchronous. The governor calls them on its disk thread.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from capital_governor.adapters.bounded_reading import refuse_irregular
from capital_governor.adapters.durability import SyncError, sync_file, sync_folder
from capital_governor.adapters.permissions import PRIVATE, ModeRefusedError, inherit

_TEMPORARY: Final = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)


class Swept(NamedTuple):
    """Result of ``sweep``: the temporary files that it deleted, and why others could not be deleted (empty if none)."""

    gone: tuple[Path, ...]
    problem: str


def replace(target: Path, content: bytes, *, durable: bool = True) -> str:
    """Replace one file, see ``replace_all``.

    Returns:
        What the file system could not keep (mode, owner, durability), in one sentence; empty if nothing.

    Raises:
        NotAFile: the target exists and is not a regular file.
        NotKeptError: the new file would lose readers of the old one, or gain others.
        OSError: the folder is missing or the disk refused. The old file stays, unless only the fsync of the folder
            failed.
    """
    (done,) = replace_all({target: content}, durable=durable).values()
    if isinstance(done, OSError):
        raise done
    return done


def replace_all(
    contents: Mapping[Path, bytes], *, durable: bool = True, stopped: Callable[[], bool] = lambda: False
) -> dict[Path, str | OSError]:
    """Replace files one after the other, so that a reader of each sees all of the old or all of the new.

    All contents are on the disk before the first rename, and one fsync for each folder follows the last. So a power
    loss may leave any of the files old and the others new. A failure of one file does not stop the others.

    If a target is a symlink, it stays and the file that it leads to is replaced. The new file keeps the old one's mode
    and owner; without an old file it gets mode 0666 less the umask.

    Args:
        contents: the new content of each file.
        durable: fsync the contents and the folders before returning.
        stopped: asked right before each rename; once it returns True, nothing more is renamed.

    Returns:
        For each replaced file what ``replace`` returns, and for each failed one the error that ``replace`` raises.
        Files that were not replaced because of ``stopped`` are left out.
    """
    done, unsynced = _replace_once(contents, durable, stopped)
    if unsynced:
        # See _make: what a failed fsync may have lost must be written again.
        for target in unsynced:
            del done[target]
        done |= _replace_once({target: contents[target] for target in unsynced}, durable, stopped)[0]
    return done


def sweep(folder: Path, names: Iterable[str]) -> Swept:
    """Delete the leftover temporary files of the files called ``names`` in ``folder``.

    Only regular files with exactly the name pattern of ``replace`` are deleted. Failures are returned, not raised.
    """
    wanted = frozenset(names)
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        return Swept((), "")
    except OSError as error:
        return Swept((), f"{folder} could not be searched for leftover temporary files: {error.strerror}.")
    gone, problems = [], []
    for entry in entries:
        try:
            if _is_leftover(entry, wanted):
                entry.unlink(missing_ok=True)
                gone.append(entry)
        except OSError as error:
            problems.append(f"{entry} was left behind and cannot be deleted: {error.strerror}.")
    return Swept(tuple(gone), " ".join(problems))


def _is_leftover(entry: Path, names: frozenset[str]) -> bool:
    match = _TEMPORARY.fullmatch(entry.name)
    return match is not None and match[1] in names and stat.S_ISREG(entry.lstat().st_mode)


@dataclass(slots=True)
class _NewFile:
    """A complete new file, under a temporary name until ``rename`` puts it in place of ``real``."""

    real: Path
    temporary: Path
    lacks: list[str]
    waits: bool = True

    def rename(self) -> None:
        try:
            self.temporary.replace(self.real)
        except OSError as error:
            _discard(self.temporary, error)
            raise
        finally:
            self.waits = False

    def discard(self) -> None:
        """Delete it unless it was renamed."""
        if self.waits:
            _discard(self.temporary, None)


def _replace_once(
    contents: Mapping[Path, bytes],
    durable: bool,  # noqa: FBT001 - private; the caller passes its own keyword on
    stopped: Callable[[], bool],
) -> tuple[dict[Path, str | OSError], list[Path]]:
    """Replace the files; also return which of them are in place without an fsync of their folder, because it failed."""
    done: dict[Path, str | OSError] = {}
    renamed: dict[Path, _NewFile] = {}
    with ExitStack() as leftovers:
        made: dict[Path, _NewFile] = {}
        for target, content in contents.items():
            try:
                made[target] = new = _make(target, content, durable)
            except OSError as error:
                done[target] = error
            else:
                leftovers.callback(new.discard)
        for target, new in made.items():
            if stopped():
                break
            try:
                new.rename()
            except OSError as error:
                done[target] = error
            else:
                renamed[target] = new
    folders = dict.fromkeys(new.real.parent for new in renamed.values())
    synced = {folder: _sync(folder) if durable else "" for folder in folders}
    for target, new in renamed.items():
        lack = synced[new.real.parent]
        done[target] = lack if isinstance(lack, OSError) else _warning(new.real, [*new.lacks, lack])
    return done, [target for target in renamed if isinstance(done[target], SyncError)]


def _sync(folder: Path) -> str | OSError:
    try:
        return sync_folder(folder)
    except OSError as error:
        return error


def _warning(real: Path, lacks: Iterable[str]) -> str:
    found = [lack for lack in lacks if lack]
    return f"{real} was written, but {'; '.join(found)}" if found else ""


def _make(
    target: Path,
    content: bytes,
    durable: bool,  # noqa: FBT001 - as above
) -> _NewFile:
    try:
        return _make_once(target, content, durable)
    except SyncError:
        # After a failed fsync the kernel may drop the unwritten pages and mark them clean. A second fsync of the same
        # file would then succeed without having written them, so only a new file can be tried again.
        return _make_once(target, content, durable)


def _make_once(
    target: Path,
    content: bytes,
    durable: bool,  # noqa: FBT001 - as above
) -> _NewFile:
    real, old = _find(target)
    try:
        return _write(real, content, durable, old, PRIVATE)
    except ModeRefusedError as refused:
        return _write(real, content, durable, old, refused.mode)


def _find(target: Path) -> tuple[Path, os.stat_result | None]:
    """Return the file that ``target`` leads to, and its stat, None if there is none.

    The file is not opened, since a FIFO blocks.
    """
    try:
        found = target.lstat()
        if stat.S_ISLNK(found.st_mode):
            target = Path(os.path.realpath(target))
            found = target.lstat()
    except FileNotFoundError:
        return target, None
    refuse_irregular(found.st_mode, target)
    return target, found


def _write(
    real: Path,
    content: bytes,
    durable: bool,  # noqa: FBT001 - as above
    old: os.stat_result | None,
    mode: int,
) -> _NewFile:
    """Write what is to replace ``old`` to a file made with ``mode``."""
    temporary = real.with_name(f".{real.name}.{os.urandom(8).hex()}.tmp")
    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC
    # Private from the start, so that others cannot read it in the moment before fchmod.
    fd = os.open(temporary, flags, 0o666 if old is None else mode)
    lacks = []
    try:
        try:
            if old is not None:
                lacks.append(inherit(fd, old, mode))
            _write_all(fd, content)
            if durable:
                lacks.append(sync_file(fd))
        finally:
            os.close(fd)
    except BaseException as error:
        _discard(temporary, error)
        raise
    return _NewFile(real, temporary, lacks)


def _write_all(fd: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _discard(temporary: Path, error: BaseException | None) -> None:
    """Delete a temporary file because of ``error``; if that fails, it gets a note, and the next start deletes it."""
    try:
        temporary.unlink(missing_ok=True)
    except OSError as leftover:
        if error is not None:
            error.add_note(f"{temporary} was left behind: {leftover.strerror}")
