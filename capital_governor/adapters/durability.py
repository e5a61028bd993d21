"""Make a file and its name survive a power loss, where the file system can do that."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from capital_governor.adapters.refusals import REFUSED, UNSUPPORTED, code


class SyncError(OSError):
    """fsync failed. What was written may be lost without another error, so it must be written to a new file."""


def sync_file(fd: int) -> str:
    """Write the content of an open file to the disk; return why its file system cannot do that, empty if it could.

    Raises SyncError if the disk failed.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise SyncError(error.errno, error.strerror) from error
        return f"its file system cannot sync files ({code(error)}), so that a power loss may undo it"
    return ""


def sync_folder(folder: Path) -> str:
    """Write the names in a folder to the disk; return why that cannot be done here, empty if it could.

    It is no error if the file system cannot do it or this user may not open the folder: the names are in place, and
    another attempt would not help.

    Raises:
        SyncError: the disk failed.
        OSError: the folder cannot be opened for a reason other than permissions.
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
