"""Exit codes of the commands."""

from __future__ import annotations

from collections.abc import Mapping
from signal import SIGINT, SIGTERM
from typing import Final

OK: Final = 0
UNEXPECTED: Final = 1
USAGE: Final = 2
TEMPORARY: Final = 75
"""The same command may succeed later: dashboard down, lock held, disk full (EX_TEMPFAIL of sysexits.h)."""
CONFIGURATION: Final = 78
"""A person must act, so a supervisor must not try again (EX_CONFIG of sysexits.h)."""

MEANINGS: Final[Mapping[int, str]] = {
    OK: "done; `run`: ended by SIGTERM or SIGINT",
    UNEXPECTED: "an unexpected error, with its traceback; `demo`: a scene did not come",
    USAGE: "wrong usage, or nothing of that name: see below",
    TEMPORARY: "the same command may work later: see below",
    CONFIGURATION: "a person must act: settings, root, lock file, a foreign or newer journal",
    128 + SIGINT: "`once`, `demo`: ended by SIGINT (Ctrl-C)",
    128 + SIGTERM: "`once`: ended by SIGTERM",
}
"""By exit code, when a command ends with it; for the manual."""
