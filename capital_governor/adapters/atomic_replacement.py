"""Replace a file so that a reader sees all of the old or all of the new, and a power loss leaves one of the two.

Everything here is synchronous and blocks for no longer than the disk does; one single-thread executor calls it.
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
    """What became of leftover temporaries: those that are ``gone``, and what kept the others, empty if nothing did."""

    gone: tuple[Path, ...]
    problem: str


def replace(
    target: Path, content: bytes, *, durable: bool = True, before_rename: Callable[[], None] | None = None
) -> str:
    """Put ``content`` in place of the file at ``target``, so that a reader sees all of the old or all of the new.

    A symlink survives and its real file is replaced. Mode and owner of the old file are kept; a new file gets 0666
    less the umask. With ``durable``, the content and its name have reached the disk on return. ``before_rename`` is
    called when all that is left is to rename; what it raises is propagated and the old file stays.

    Returns:
        What the file system could not keep (mode, owner, what outlasts a power loss), one sentence; empty if all was.

    Raises:
        NotAFile: the real target exists and is no regular file.
        NotKeptError: a reader of the old file could not read the new one, or somebody could who may not.
        OSError: the target's folder is missing or the disk refused; the old file stays, unless only the last fsync,
            that of the folder, failed.
    """
    real = Path(os.path.realpath(target))
    try:
        lacks = _replace_once(real, content, durable, before_rename)
    except SyncError:
        # The kernel may have dropped the unwritten pages and marked them clean: a second fsync of the same file would
        # then report a success that is none. A new file is the only honest second try.
        lacks = _replace_once(real, content, durable, before_rename)
    return f"{real} was written, but {'; '.join(lacks)}" if lacks else ""


def sweep(folder: Path, names: Iterable[str]) -> Swept:
    """Delete from ``folder`` the leftover temporaries of the files called ``names``; what stays is only told.

    Only regular files of exactly the pattern that ``replace`` uses. A missing folder holds nothing.
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
    durable: bool,  # noqa: FBT001 - private, and the caller hands its own keyword on
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
    # What replaces a private file is never readable by others, not even for the moment before fchmod.
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
    """Return the stat of the regular file at ``real``, None where nothing is there. Never opens it: FIFOs block."""
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
