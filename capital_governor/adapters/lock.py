"""Exactly one governor a root: a lock that the kernel frees when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Final

from capital_governor.adapters.refusals import LOCK_REMEDIES

PATIENCE_SECONDS: Final = 1.0
"""How long ``acquire`` tries again: whoever looks at a lock has a share of it for a moment."""

_POLL_SECONDS: Final = 0.01


class LockHeldError(Exception):
    """Another governor holds this root."""


class LockRefusedError(OSError):
    """The file of the lock cannot be opened or locked; its text has the remedy."""


class RootLock:
    """A lock on one file, held until ``release`` or the end of the process.

    The file is never unlinked: a lock on an unlinked file would exclude nobody.

    Args:
        path: the lock file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock  # noqa: PLC0415 - `is_held`, which a command asks in a hurry, does without

        self._path = path
        self._lock = FileLock(
            path,
            timeout=PATIENCE_SECONDS,
            poll_interval=_POLL_SECONDS,
            fallback_to_soft=False,
            preserve_lock_file=True,
            thread_local=False,
        )

    def acquire(self) -> None:
        """Take the lock, within ``PATIENCE_SECONDS``.

        Raises:
            LockHeldError: another process has it.
            OSError: the file cannot be opened or locked; with its name, and the remedy where one is known.
        """
        from filelock import Timeout  # noqa: PLC0415 - as above

        try:
            self._lock.acquire()
        except Timeout:
            remedy = "stop it first, or use `once --dry-run`, which works beside it"
            raise LockHeldError(f"another governor runs on this root: it holds {self._path}; {remedy}") from None
        except OSError as error:
            remedy = LOCK_REMEDIES.get(error.errno or 0, "")
            problem = f"the lock cannot be taken ({error.strerror or error})" + (f": {remedy}" if remedy else "")
            raise LockRefusedError(error.errno, problem, str(self._path)) from None

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def is_held(path: Path) -> bool | None:
    """Return whether a governor holds this lock, which ends with it however it dies; None if that is unknown."""
    try:
        with path.open("rb") as file:
            # Shared and given back at once: a governor that starts in these microseconds tries again.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False
