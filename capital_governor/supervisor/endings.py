"""Says in words why an agent ended, from its exit code."""

from __future__ import annotations

import signal
from typing import Final

_BEYOND: Final = 128
"""A shell and the keeper add this to the number of the signal that ended a process."""

UNSEEN: Final = -1
"""In place of an exit code: nobody saw how the process ended."""

_WORDS: Final = {
    UNSEEN: "its supervisor was killed, or the machine went down",
    0: "by itself, exit 0",
    75: "exit 75: it cannot work now",
    78: "exit 78: a person must act",
    126: "exit 126: its command may not be run",
    127: "exit 127: its command was not found",
    _BEYOND + signal.SIGINT: "interrupted, exit 130",
    _BEYOND + signal.SIGABRT: "aborted, exit 134: a fault of the program",
    _BEYOND + signal.SIGKILL: "killed, exit 137: often out of memory",
    _BEYOND + signal.SIGSEGV: "crashed in its own code, exit 139: a fault of the program",
    _BEYOND + signal.SIGTERM: "ended by SIGTERM, exit 143: somebody ended it",
}


def cause_of(exit_code: int) -> str:
    """Return why a process ended, in a clause with its exit code (0..255, or ``UNSEEN``)."""
    if (words := _WORDS.get(exit_code)) is not None:
        return words
    if exit_code - _BEYOND in set(signal.Signals):
        return f"ended by {signal.Signals(exit_code - _BEYOND).name}, exit {exit_code}"
    return f"exit {exit_code}: an error"
