"""Output of the commands: data on stdout, failures and warnings on stderr."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import suppress
from typing import NoReturn

from capital_governor.cli.wrapping import terminal_columns, wrapped
from capital_governor.contracts.exit_codes import TEMPORARY


def write_stdout(text: str) -> None:
    """Write to stdout. If stdout is closed or its reader is gone, the text is dropped without an error.

    Raises:
        SystemExit: 75, with one line on stderr, if it cannot be written for another reason (disk full).
    """
    if sys.stdout is None:
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the terminal may lack some letters
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # The rest of the buffer must not be written again at exit, where the failure could not be caught.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            fail(TEMPORARY, f"standard output: {error.strerror}")


def show_json(document: object) -> None:
    """Write one JSON document to stdout."""
    write_stdout(f"{json.dumps(document, indent=2)}\n")


def fail(code: int, *lines: str) -> NoReturn:
    """Print each line to stderr and exit with ``code``. Raises SystemExit."""
    for line in lines:
        _tell(f"capital-governor: {line}")
    raise SystemExit(code)


def warn(line: str) -> None:
    """Print a warning to stderr; the command goes on."""
    _tell(f"capital-governor: warning: {line}")


def _tell(line: str) -> None:
    """Print to stderr; on a terminal long lines are wrapped."""
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    print(wrapped(line, terminal_columns(), 2) if on_terminal else line, file=sys.stderr)  # noqa: T201 - no data
