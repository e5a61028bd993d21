"""A process of the soak's own that takes orders: the parent writes one on a line, the child answers one line of JSON.

A child ends when its standard input does, so none outlives a parent that was killed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, Self


class Station:
    """The parent's end. Any thread may give orders."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._changing = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._in.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(60)
        self._out.close()

    def order(self, words: str) -> Any:
        """Give an order and return what came of it."""
        with self._changing:
            self._in.write(f"{words}\n")
            self._in.flush()
            answer = self._out.readline()
        if not answer:
            raise RuntimeError(f"the process that was told '{words}' has ended with {self._process.poll()}")
        return json.loads(answer)


def obey(act: Callable[[str], object]) -> None:
    """The child's end: answer each order with what ``act`` returns, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this
    for line in sys.stdin:
        print(json.dumps(act(line.strip())), flush=True)  # noqa: T201 - the answer
