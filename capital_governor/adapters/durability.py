"""What makes a file and its name outlast a power loss, on file systems that can do that."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from capital_governor.adapters.refusals import REFUSED, UNSUPPORTED, code


class SyncError(OSError):
    """fsync failed: what was written so far may be lost silently, so it has to be written anew."""


def sync_file(fd: int) -> str:
    """Bring the content of an open file to the disk; return why its file system cannot do that, empty if it did.

    Raises SyncError: the disk failed.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise SyncError(error.errno, error.strerror) from error
        return f"its file system cannot sync files ({code(error)}), so that a power loss may undo it"
    return ""


def sync_folder(folder: Path) -> str:
    """Bring the names in a folder to the disk; return why that cannot be done here, empty if it was.

    A file system that never does it, or a folder that this user may not open for reading, is no failure: the names
    are there, and to do it again would help nothing.

    Raises:
        SyncError: the disk failed.
        OSError: the folder cannot be opened for another reason than the lack of a right.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError as error:
        return _not_synced(folder, error)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in REFUSED | {errno.EBADF}:
            raise SyncError(error.errno, error.strerror) from error
        return _not_synced(folder, error)
    finally:
        os.close(fd)
    return ""


def _not_synced(folder: Path, error: OSError) -> str:
    return f"the folder {folder} cannot be synced ({code(error)}), so that a power loss may undo it"
