"""The program as a user runs it, and its output as the manual shows it."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from capital_governor.core.model import Metrics
from capital_governor.settings.variables import PREFIX
from tests.manual.pages import (
    REPOSITORY,
)
from tests.rigs.dashboard import Dashboard
from tests.rigs.patience import PATIENCE_SECONDS

SHOWN_ROOT: Final = "/home/me/neolight"
SPAN: Final = r"\d+ (?:s|min|h)(?: \d+ (?:s|min))*"
"""A length of time as the program writes it; on a busy machine it is longer than elsewhere."""

SHOWN_FLEET: Final = "host/neolight"


SHOWN_URL: Final = "http://localhost:8100"


@dataclass(frozen=True, slots=True)
class Place:
    """A root with a dashboard, and the program run there; ``own`` are settings by name without the prefix."""

    root: Path
    dashboard: Dashboard
    own: Mapping[str, str] = field(default_factory=dict)

    def environment(self, **own: object) -> dict[str, str]:
        settings = {f"{PREFIX}{name}": str(value) for name, value in (*self.own.items(), *own.items())}
        base = {"PATH": os.environ["PATH"], "HOME": str(self.root), "TZ": "UTC", "PYTHONUTF8": "1"}
        return base | {"NEOLIGHT_ROOT": str(self.root), "NEOLIGHT_DASHBOARD_URL": self.dashboard.url} | settings

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def govern(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.call(sys.executable, "-P", "-m", "capital_governor", *words)

    def json(self, *words: str) -> Any:
        return json.loads(self.govern(*words, "--json").stdout)

    def file(self, name: str) -> Any:
        return json.loads((self.root / "runtime" / name).read_bytes())

    @contextmanager
    def running(self, log: Path, **own: object) -> Iterator[None]:
        with log.open("ab") as sink:
            command = [sys.executable, "-P", "-m", "capital_governor", "run"]
            process = subprocess.Popen(command, cwd=self.root, env=self.environment(**own), stderr=sink)
            try:
                yield
            finally:
                process.terminate()
                assert process.wait(PATIENCE_SECONDS) == 0


def records(fleet: Mapping[str, Metrics]) -> dict[str, Any]:
    """The agents of a payload."""
    fields = ("pnl_7d", "sharpe_30d", "winrate_30d", "max_dd_30d")
    return {agent: {field: getattr(metrics, field) for field in fields} for agent, metrics in fleet.items()}


def output_of(command: str, place: Place) -> str:
    """Run one shown command and return its standard output as the manual shows it."""
    words = shlex.split(command)
    if words == ["./neo_light_fix.sh", "help"]:
        ran = place.call(str(REPOSITORY / words[0]), "help")
    elif words[0] in {
        "./neo_light_fix.sh",
        "capital-governor",
    }:  # the script runs the program, once it has an environment
        ran = place.govern(*words[1:])
    else:
        assert words[0] == "cat"
        ran = place.call(*words)
    assert ran.returncode == 0, ran.stderr
    return as_shown(ran.stdout, place)


def as_shown(output: str, place: Place) -> str:
    """Replace what differs from run to run: folder, port, times, process number; and blanks at the ends of lines."""
    text = output.replace(f"{socket.gethostname().partition('.')[0]}/{place.root.name}", SHOWN_FLEET)
    text = text.replace(str(place.root), SHOWN_ROOT).replace(place.dashboard.url, SHOWN_URL)
    text = text.replace(f" by {pwd.getpwuid(os.getuid()).pw_name}", " by anna")
    for pattern, shown in (
        (r"until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "until 2025-11-04 00:00:00 UTC"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2025-11-03T22:00:00Z"),
        (r"\d{8}T\d{6}Z-", "20251103T220000Z-"),
        (r"(?<!until )\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "2025-11-03 22:00:00 UTC"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d(?=  | UTC)", "2025-11-03 22:00"),
        (r"(?<![\d:])(?<!-\d\d )\d\d:\d\d UTC", "22:00 UTC"),
        (rf"\(for {SPAN}( so far)?\)", r"(for 5 min\1)"),
        (r"process \d+", "process 4711"),
        (rf"{SPAN} (ago|old)", r"0 s \1"),
        (rf"(next cycle, within ){SPAN}", r"\g<1>4 min 12 s"),
        (r"(cooldown\b.*?)\d+( s)? of 0", r"\g<1>0\2 of 0"),
    ):
        text = re.sub(pattern, shown, text)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") + "\n"


def in_shell(snippet: str, cwd: Path, **more: str) -> str:
    """Run a snippet where ``python3`` and ``.venv/bin/python`` are this Python; return its standard output."""
    (cwd / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("python", "python3"):
        wrapper = cwd / ".venv" / "bin" / name
        wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        wrapper.chmod(0o755)
    environment = {"PATH": f"{cwd}/.venv/bin:{os.environ['PATH']}", "HOME": str(cwd)} | more
    bash = ["/usr/bin/env", "bash", "-euo", "pipefail", "-c", snippet]
    ran = subprocess.run(
        bash, cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
