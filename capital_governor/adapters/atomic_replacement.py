"""Replace a file atomically: a reader, or a start after a power loss, finds the whole old or the whole new content.

All functions are synchronous. The governor calls them on its disk thread.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
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


def replace(
    target: Path, content: bytes, *, durable: bool = True, before_rename: Callable[[], None] | None = None
) -> str:
    """Put ``content`` in place of the file at ``target``, so that a reader sees all of the old or all of the new.

    If ``target`` is a symlink, it stays and the file that it leads to is replaced. The new file keeps the old one's
    mode and owner; without an old file it gets mode 0666 less the umask.

    Args:
        target: the file to replace.
        content: its new content.
        durable: fsync the content and the folder before returning.
        before_rename: called right before the rename. If it raises, the old file stays and the error is passed on.

    Returns:
        What the file system could not keep (mode, owner, durability), in one sentence; empty if nothing.

    Raises:
        NotAFile: the target exists and is not a regular file.
        NotKeptError: the new file would lose readers of the old one, or gain others.
        OSError: the folder is missing or the disk refused. The old file stays, unless only the fsync of the folder
            failed.
    """
    real = Path(os.path.realpath(target))
    try:
        lacks = _replace_once(real, content, durable, before_rename)
    except SyncError:
        # After a failed fsync the kernel may drop the unwritten pages and mark them clean. A second fsync of the same
        # file would then succeed without having written them, so only a new file can be tried again.
        lacks = _replace_once(real, content, durable, before_rename)
    return f"{real} was written, but {'; '.join(lacks)}" if lacks else ""


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


def _replace_once(
    real: Path,
    content: bytes,
    durable: bool,  # noqa: FBT001 - private; the caller passes its own keyword on
    before_rename: Callable[[], None] | None,
) -> list[str]:
    old = _regular(real)
    try:
        return _replace(real, content, durable, before_rename, old, PRIVATE)
    except ModeRefusedError as refused:
        return _replace(real, content, durable, before_rename, old, refused.mode)


def _replace(
    real: Path,
    content: bytes,
    durable: bool,  # noqa: FBT001 - as above
    before_rename: Callable[[], None] | None,
    old: os.stat_result | None,
    mode: int,
) -> list[str]:
    """Replace ``old`` by a file made with ``mode``, and return what was not kept."""
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
        if before_rename is not None:
            before_rename()
        temporary.replace(real)
    except BaseException as error:
        _discard(temporary, error)
        raise
    if durable:
        lacks.append(sync_folder(real.parent))
    return [lack for lack in lacks if lack]


def _regular(real: Path) -> os.stat_result | None:
    """Return the stat of the regular file at ``real``; None if there is none. It is not opened, since a FIFO blocks."""
    try:
        found = real.lstat()
    except FileNotFoundError:
        return None
    refuse_irregular(found.st_mode, real)
    return found


def _write_all(fd: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _discard(temporary: Path, error: BaseException) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError as leftover:
        error.add_note(f"{temporary} was left behind: {leftover.strerror}")
