"""The demo's root: a folder marked as a demo's, which is emptied and set up at each start."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from capital_governor.contracts.exit_codes import CONFIGURATION, TEMPORARY

INTERVAL_SECONDS: Final = 0.5
MARK: Final = "DEMO"
"""A folder without this file is not a demo's, and is left unchanged."""
PATIENCE_SECONDS: Final = 60.0
"""How long a supervisor may take to end; it needs some fifteen seconds, more on a busy machine."""
HOST: Final = "127.0.0.1"

_LOCKS: Final = ("neo_light_fix.lock", "neo_light_fix.agents.lock")
_OWN_FOLDERS: Final = ("state", "runtime", "logs")


class DemoError(Exception):
    """The demo cannot be shown; the text says why and what to do, ``code`` is the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@contextlib.contextmanager
def own_root(folder: Path) -> Iterator[Path]:
    """Make the folder an empty root and lock it for this demo.

    Raises:
        DemoError: it is not a demo's folder, or another demo has it.
        OSError: it cannot be written.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise DemoError(f"{folder} is no folder of its own: move it away, or choose another --folder", CONFIGURATION)
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise DemoError(
            f"{folder} is not empty and not a demo's: move it away, or choose another --folder", CONFIGURATION
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / MARK).open("a") as mark:
        if not _locked(mark, 0.0):
            raise DemoError(f"another demo runs in {folder}: end it first", TEMPORARY)
        _wait_for_the_last_one(folder)
        for name in _OWN_FOLDERS:
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).mkdir()
        (folder / ".env").write_text(_settings(_free_port()))
        yield folder


def _wait_for_the_last_one(folder: Path) -> None:
    """Wait for the supervisor of a killed demo to end."""
    for name in _LOCKS:
        with contextlib.suppress(FileNotFoundError), (folder / "runtime" / name).open("r+") as lock:
            if not _locked(lock, PATIENCE_SECONDS):
                raise DemoError(f"what the last demo started still runs in {folder}: try again later", TEMPORARY)


def _locked(file: IO[str], seconds: float) -> bool:
    """Lock the file within ``seconds``; closing it releases the lock."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.1)
        else:
            return True


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def _settings(port: int) -> str:
    return (
        "# Of the demo; written anew by each.\n"
        f"NEOLIGHT_DASHBOARD_URL=http://{HOST}:{port}\n"
        f"CAPITAL_GOVERNOR_INTERVAL={INTERVAL_SECONDS}\n"
        "CAPITAL_GOVERNOR_HIVE=1\n"
    )
