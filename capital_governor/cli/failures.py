"""Turns the errors of a command into a line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

from capital_governor.adapters.lock import LockHeldError, LockRefusedError
from capital_governor.adapters.refusals import remedy
from capital_governor.cli.output import fail
from capital_governor.contracts.exit_codes import CONFIGURATION, TEMPORARY
from capital_governor.journal.protocol import JournalError, JournalRefusedError
from capital_governor.settings.faults import SettingsError

_PASSING: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.EMFILE, errno.ENFILE}


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn expected errors into lines on stderr and an exit code. Raises SystemExit."""
    try:
        yield
    except SettingsError as error:
        fail(CONFIGURATION, *error.faults)
    except LockHeldError as error:
        fail(TEMPORARY, str(error))
    except JournalRefusedError as error:
        fail(CONFIGURATION, str(error))
    except JournalError as error:
        fail(TEMPORARY, str(error))
    except LockRefusedError as error:
        fail(TEMPORARY if error.errno in _PASSING else CONFIGURATION, f"{error.filename}: {error.strerror}")
    except OSError as error:
        clause = remedy(error)
        line = f"{error.filename or 'the file system'}: {error.strerror or error}{clause and f'; {clause}'}"
        fail(TEMPORARY if error.errno in _PASSING else CONFIGURATION, line)
