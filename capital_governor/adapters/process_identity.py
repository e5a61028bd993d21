"""Identifies a process by its pid and its start, since a pid alone may be used again by another process."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_START_FIELD: Final = 19
"""Of the fields after the name in /proc/PID/stat: field 22 of proc(5)."""


def start_of(pid: int) -> str:
    """Return when a process was started, as a text that never changes; empty if there is no such process."""
    if (_PROC / "self/stat").exists():
        try:
            stat = (_PROC / str(pid) / "stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return ""
        return stat.rpartition(b")")[2].split()[_START_FIELD].decode()
    shown = subprocess.run(  # noqa: S603 - fixed words and a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()
