"""Exactly one governor a root: a lock that the kernel frees when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
from pathlib import Path

from filelock import FileLock, Timeout


class LockHeldError(Exception):
    """Another governor holds this root."""


class RootLock:
    """A lock on one file, held until ``release`` or the end of the process.

    The file is never unlinked: a lock on an unlinked file would exclude nobody.

    Args:
        path: the lock file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path, timeout=0, fallback_to_soft=False, preserve_lock_file=True, thread_local=False)

    def acquire(self) -> None:
        """Take the lock at once.

        Raises:
            LockHeldError: another process has it.
            OSError: the file cannot be opened.
        """
        try:
            self._lock.acquire()
        except Timeout:
            remedy = "stop it first, or use `once --dry-run`, which works beside it"
            raise LockHeldError(f"another governor runs on this root: it holds {self._path}; {remedy}") from None

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def is_held(path: Path) -> bool | None:
    """Return whether a governor holds this lock, which ends with it however it dies; None if that is unknown."""
    try:
        with path.open("rb") as file:
            # Shared and given back at once: nobody but a governor that starts in these microseconds could notice.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False
