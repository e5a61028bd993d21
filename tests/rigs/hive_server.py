"""A hive as a real process on loopback, for the tests of it and of what asks it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from capital_governor.adapters.dashboard import Dashboard
from capital_governor.contracts.payload import parse
from capital_governor.core.model import Refusal, Snapshot
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.preludes import MAIN, PATIENT_FLUSH


@dataclass(frozen=True, slots=True)
class Served:
    """A hive that serves a root."""

    root: Path
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str) -> httpx.Response:
        with httpx.Client(trust_env=False) as client:
            return client.get(self.url + path, timeout=PATIENCE_SECONDS)

    def put(self, path: Path, document: object) -> None:
        (self.root / path).write_text(document if isinstance(document, str) else json.dumps(document))

    def asked_by_the_governor(self) -> Snapshot | Refusal:
        """What the governor's own fetch and parser make of the answer."""
        body = asyncio.run(Dashboard(self.url, 10.0, 1 << 20).fetch())
        return body if isinstance(body, Refusal) else parse(body)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def environment(url: str) -> dict[str, str]:
    return {"PATH": os.defpath, "HOME": "/nonexistent", "NEOLIGHT_DASHBOARD_URL": url}


def command(root: Path) -> list[str]:
    return [sys.executable, "-P", "-W", "error", "-m", "capital_governor", "hive", "--root", str(root)]


def patient_command(root: Path) -> list[str]:
    """The same, but its log has the last lines whatever the machine does when it has ended."""
    return [sys.executable, "-W", "error", "-c", PATIENT_FLUSH + MAIN, "hive", "--root", str(root)]


@contextmanager
def serving(root: Path, port: int, program: list[str] | None = None) -> Iterator[Served]:
    for folder in ("state", "runtime"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    url, log = f"http://localhost:{port}", root / "hive.log"
    log.unlink(missing_ok=True)
    with log.open("ab") as sink:
        process = subprocess.Popen(program or patient_command(root), env=environment(url), stderr=sink)
    try:
        wait_until(lambda: process.poll() is not None or " serving " in log.read_text())
        assert process.poll() is None, log.read_text()
        yield Served(root, url, process, log)
    finally:
        process.kill()
        process.wait(PATIENCE_SECONDS)
