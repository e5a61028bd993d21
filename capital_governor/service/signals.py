"""Signals before the event loop runs and after it ends. Imports little, since it is imported first."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def end_at_signals(flush: Callable[[], object] = lambda: None, *, as_code: bool = False) -> None:
    """From now on SIGTERM and SIGINT end the process at once with exit code 0.

    There is no clean-up: either nothing has begun, or all has ended, and the kernel releases the lock. An exception
    instead could be caught by a module that is being imported.

    Args:
        flush: called first, to write the last lines of the log within a moment.
        as_code: exit with 128 + the signal's number instead of 0.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda heard, _: _end(flush, 128 + heard if as_code else 0))


def wait_with_reloads() -> None:
    """From now on SIGHUP does not end the process; it stays pending until the event loop handles it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup sets SIG_IGN
        signal.signal(signal.SIGHUP, lambda *_: None)


def _end(flush: Callable[[], object], code: int) -> None:
    flush()
    os._exit(code)
