"""The demo's supervisor: ``neo_light_fix.sh`` with governor and hive; it always ends with the demo."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from capital_governor.cli.demo.demo_root import PATIENCE_SECONDS, DemoError
from capital_governor.contracts.exit_codes import CONFIGURATION

PROJECT: Final = Path(__file__).resolve().parents[3]
SCRIPT: Final = PROJECT / "neo_light_fix.sh"
LOG: Final = Path("logs", "neo_light_fix.log")
STOP_SECONDS: Final = 3

_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
"""The only variables that child processes get: no setting, token or proxy of the real governor."""


@contextmanager
def supervising(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the supervisor on the root; end it and all its processes with the block.

    Raises:
        DemoError: the system is not Linux, or this is not a checkout with a virtual environment.
    """
    bash = shutil.which("bash")
    if not sys.platform.startswith("linux") or bash is None:
        raise DemoError("the demo needs Linux and bash: its supervisor does", CONFIGURATION)
    if not SCRIPT.is_file() or not (PROJECT / ".venv/bin/python").exists():
        raise DemoError(f"the demo runs from a checkout: there, start ./{SCRIPT.name} demo", CONFIGURATION)
    with (root / LOG).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - the project's script
            [bash, SCRIPT, "_demo"],
            cwd=root,
            env=_environment(root),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C must only reach the demo, which ends it
            preexec_fn=_ended_with(os.getpid()),  # noqa: PLW1509 - this process has one thread
        )
    try:
        yield process
    finally:
        _end(process)


def _environment(root: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    quick = {"NEO_LIGHT_STOP_SECONDS": str(STOP_SECONDS), "NEO_LIGHT_BACKOFF_SECONDS": "0.5"}
    return {"PATH": os.defpath} | kept | quick | {"NEOLIGHT_ROOT": str(root)}


def _ended_with(demo: int) -> Callable[[], None]:
    """Return what the child calls first: it makes the kernel end the supervisor if the demo is killed."""
    from capital_governor.supervisor.linux import die_with  # noqa: PLC0415 - can only be imported on Linux

    return lambda: die_with(demo, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # the kernel then signals its keepers
        process.wait()
