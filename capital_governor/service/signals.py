"""An end for signals that come before there is a loop to hear them, or after. Imports little: it comes first."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def end_at_signals(flush: Callable[[], object] = lambda: None, *, as_code: bool = False) -> None:
    """From now on SIGTERM and SIGINT end the process at once with exit code 0, as they do later through the loop.

    Without clean-up: nothing has been begun yet that could be left half done, or all has been ended that could be, and
    the kernel lets go of the lock after everything else. An exception instead would have to get through whatever is
    being imported, and be caught there.

    Args:
        flush: called first, to write the last lines of the log within a moment.
        as_code: exit with 128 + the signal's number instead of 0.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda heard, _: _end(flush, 128 + heard if as_code else 0))


def wait_with_reloads() -> None:
    """From now on SIGHUP ends nothing; it stays pending until the loop that reloads the settings asks for it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup starts a program
        signal.signal(signal.SIGHUP, lambda *_: None)


def _end(flush: Callable[[], object], code: int) -> None:
    flush()
    os._exit(code)
