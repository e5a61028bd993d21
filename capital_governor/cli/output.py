"""What every command writes: data on stdout, failures and warnings on stderr."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import suppress
from typing import NoReturn

from capital_governor.contracts.exit_codes import TEMPORARY


def write_stdout(text: str) -> None:
    """Write to stdout. If stdout is closed or its reader is gone, the text is dropped without an error.

    Raises:
        SystemExit: 75, with one line on stderr, if it cannot be written for another reason (disk full).
    """
    if sys.stdout is None:
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a reason may have letters that the terminal lacks
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer must not be tried again at exit, where nobody could catch its failure.
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
        print(f"capital-governor: {line}", file=sys.stderr)  # noqa: T201 - what a command says of its failure
    raise SystemExit(code)


def warn(line: str) -> None:
    """Print a warning to stderr; the command goes on."""
    print(f"capital-governor: warning: {line}", file=sys.stderr)  # noqa: T201 - as ``fail``
