"""An end for signals that come before there is a loop to hear them, or after. Imports little: it comes first."""

from __future__ import annotations

import os
import signal


def end_at_signals() -> None:
    """From now on SIGTERM and SIGINT end the process at once with exit code 0, as they do later through the loop.

    Without a word and without clean-up: nothing has been begun yet that could be left half done, and the kernel lets go
    of the lock. An exception instead would have to get through whatever is being imported, and be caught there.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
