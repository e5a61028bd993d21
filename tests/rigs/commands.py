"""Commands as a user calls them: to their end, in pipes or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rigs.patience import PATIENCE_SECONDS

NOWHERE = "http://127.0.0.1:1"
"""A port of loopback on which nobody listens."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def answer(self) -> list[str]:
        """The lines behind the first, which names the root."""
        first, *rest = self.out.splitlines()
        assert first.startswith("root: /"), self.out + self.err
        return rest


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-P", "-W", "error", "-m", "capital_governor", *map(str, arguments)]


def environment(url: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    plain = {"PATH": os.defpath, "HOME": "/nonexistent", "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    return plain | {"NEOLIGHT_DASHBOARD_URL": url} | dict(more or {})


LOADED = """
import gc, json, os, sys
import capital_governor.cli.doctor_command, capital_governor.cli.once_command, capital_governor.cli.status_command
from capital_governor.__main__ import main

gc.freeze()  # so that no child goes through all that is loaded, which took two thirds of its time
for line in sys.stdin:
    asked = json.loads(line)
    if pid := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        continue
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number, path in enumerate(("/dev/null", asked["out"], asked["err"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_NOCTTY), number)
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)
    sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", closefd=False)
    sys.argv = ["capital-governor", *asked["arguments"]]
    main()
"""
"""A process that has loaded the program, and forks a child of its own for every command: real, and soon there."""


LOADED_ONES: list[subprocess.Popen[str]] = []


@contextlib.contextmanager
def loaded() -> Iterator[None]:
    """Let ``call`` and ``on_terminal`` fork their commands from a process that has loaded the program."""
    with subprocess.Popen(
        [sys.executable, "-P", "-W", "error", "-c", LOADED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        LOADED_ONES.append(process)
        yield
        LOADED_ONES.clear()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0


def ask_loaded(arguments: list[str], environ: Mapping[str, str], out: str, err: str) -> int:
    (process,) = LOADED_ONES
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"arguments": arguments, "environment": environ, "out": out, "err": err}) + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def call(root: Path, *arguments: str, url: str = NOWHERE, env: Mapping[str, str] | None = None) -> CommandResult:
    """Run a command to its end, its output in files. Whatever happens, nobody gets to see a traceback."""
    name, *rest = arguments
    with tempfile.NamedTemporaryFile("r+") as out, tempfile.NamedTemporaryFile("r+") as err:
        code = ask_loaded([name, "--root", str(root), *rest], environment(url, env), out.name, err.name)
        return decent(CommandResult(code, out.read(), err.read()))


def run_to_end(
    words: Sequence[str | Path], env: Mapping[str, str] | None = None, *, cwd: Path | str | None = None
) -> CommandResult:
    """Run a program to its end, its output in pipes; without an environment of its own it has no dashboard."""
    done = subprocess.run(
        words,
        env=environment(NOWHERE) if env is None else env,
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return decent(CommandResult(done.returncode, done.stdout, done.stderr))


def start(root: Path, *arguments: str, url: str = NOWHERE, env: Mapping[str, str] | None = None) -> CommandResult:
    """Run a command to its end, its output in pipes, from nothing, as a shell does."""
    name, *rest = arguments
    return run_to_end(command(name, "--root", root, *rest), environment(url, env))


def decent(said: CommandResult) -> CommandResult:
    """Nobody gets to see a traceback or a warning of Python."""
    assert "Traceback" not in said.err + said.out, said.err
    assert "Warning" not in said.err, said.err
    return said


def on_terminal(
    root: Path, *arguments: str, columns: int = 80, url: str = NOWHERE, env: Mapping[str, str] | None = None
) -> str:
    """Run a command with stdout on a terminal of so many columns, and return what that got."""
    name, *rest = arguments
    master, slave = pty.openpty()
    got: list[bytes] = []

    def listen() -> None:
        with contextlib.suppress(OSError):  # EIO is how a terminal says that nobody is left on its other side
            while part := os.read(master, 65_536):
                got.append(part)

    listener = threading.Thread(target=listen)
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        listener.start()
        ask_loaded([name, "--root", str(root), *rest], environment(url, env), os.ttyname(slave), os.devnull)
    finally:
        os.close(slave)
        listener.join(PATIENCE_SECONDS)
        os.close(master)
    return b"".join(got).decode().replace("\r\n", "\n")


def tree(root: Path) -> dict[str, tuple[bytes, int, int, int]]:
    """Everything that shows that somebody has written: content, mode, inode and modification time by path."""
    return {
        str(path.relative_to(root)): (path.read_bytes() if path.is_file() else b"", found.st_mode, found.st_ino, stamp)
        for path in sorted([root, *root.rglob("*")])
        for found in [path.lstat()]
        for stamp in [found.st_mtime_ns]
    }
