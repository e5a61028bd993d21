"""Exit codes: what a supervisor or a script learns from the end of a command."""

from typing import Final

OK: Final = 0
UNEXPECTED: Final = 1
USAGE: Final = 2
TEMPORARY: Final = 75
"""Later, the same command may succeed: dashboard down, lock held, disk full (EX_TEMPFAIL of sysexits.h)."""
CONFIGURATION: Final = 78
"""Only a person can mend it, so a supervisor must not try again (EX_CONFIG of sysexits.h)."""
