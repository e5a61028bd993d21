"""Turns the errors of a command into a line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence
from typing import Final

from capital_governor.adapters.lock import LockHeldError, LockRefusedError
from capital_governor.adapters.refusals import remedy
from capital_governor.cli.output import fail
from capital_governor.contracts.exit_codes import CONFIGURATION, TEMPORARY
from capital_governor.journal.protocol import JournalError, JournalRefusedError
from capital_governor.settings.faults import SettingsError

_PASSING: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.EMFILE, errno.ENFILE}


_EXPECTED: Final = (SettingsError, LockHeldError, JournalError, OSError)


def failure_of(error: Exception) -> tuple[int, Sequence[str]]:
    """Return the exit code and the lines for an expected error."""
    match error:
        case SettingsError():
            return CONFIGURATION, error.faults
        case LockRefusedError():
            code = TEMPORARY if error.errno in _PASSING else CONFIGURATION
            return code, [f"{error.filename}: {error.strerror}"]
        case OSError():
            clause = remedy(error)
            line = f"{error.filename or 'the file system'}: {error.strerror or error}{clause and f'; {clause}'}"
            return TEMPORARY if error.errno in _PASSING else CONFIGURATION, [line]
        case _:
            return CONFIGURATION if isinstance(error, JournalRefusedError) else TEMPORARY, [str(error)]


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn expected errors into lines on stderr and an exit code. Raises SystemExit."""
    try:
        yield
    except _EXPECTED as error:
        code, lines = failure_of(error)
        fail(code, *lines)
