"""What a machine may not have: a test that needs it is skipped there, which is a failure where CI is true."""

from __future__ import annotations

import functools
import os
import socket
import subprocess

import pytest

from tests.faults.strace import which
from tests.rigs.patience import PATIENCE_SECONDS


def needs_ipv6() -> None:
    """Skip a test that needs the address ::1 where there is none."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError as error:
        pytest.skip(f"needs IPv6 on loopback: {error.strerror}")


def with_own_mounts() -> list[str]:
    """Return what goes before a command so that what it mounts is seen by it alone, and is gone when it ends.

    Skips a test where that is not allowed.
    """
    alone = [which("unshare"), *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount"]
    if refused := _refused(tuple(alone)):
        pytest.skip(f"needs mounts of its own: {refused}")
    return alone


@functools.cache
def _refused(alone: tuple[str, ...]) -> str:
    """Return why there cannot be such a mount; empty: there can."""
    probe = [*alone, "mount", "-t", "tmpfs", "none", "/tmp"]  # noqa: S108 - what it covers is as before at its end
    done = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    return done.stderr.strip() if done.returncode else ""
