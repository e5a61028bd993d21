"""The lock that allows one governor per root. The kernel releases it when its holder ends, by a kill too."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Final

from capital_governor.adapters.refusals import LOCK_REMEDIES

PATIENCE_SECONDS: Final = 1.0
"""How long ``acquire`` tries: a command that looks at the lock holds it shared for a moment."""

_POLL_SECONDS: Final = 0.01


class LockHeldError(Exception):
    """Another governor holds this root."""


class LockRefusedError(OSError):
    """The lock file cannot be opened or locked; the text has the remedy."""


class RootLock:
    """A lock on one file, held until ``release`` or the end of the process.

    The file is never deleted: a lock on a deleted file would not exclude another governor.

    Args:
        path: the lock file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock  # noqa: PLC0415 - `is_held` of the quick commands does not need it

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
            LockRefusedError: the file cannot be opened or locked.
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
    """Return whether a governor holds this lock; None if that is unknown."""
    try:
        with path.open("rb") as file:
            # Locked shared and released at once; a governor that starts at this moment tries again.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False
