"""A log in memory, with the clock standing still: for the tests of the logs."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TextIO

from capital_governor.adapters import logs
from capital_governor.adapters.log_format import Format, Words
from capital_governor.adapters.log_output import Sink

NOW = 1_762_207_200.9  # 2025-11-03T22:00:00Z
HEAD = "2025-11-03T22:00:00Z "
TOKEN = "123456789:" + "CANARYtoken" * 3 + "12"
AWKWARD = 'CANARY"quote\\back/slash ümlaut\u202e%&\n end'


def start(
    fmt: Format = "console",
    level: str = "DEBUG",
    *,
    secrets: tuple[str, ...] = (),
    color: bool | None = None,
    words: Words = lambda *_: None,
    now: Callable[[], float] = lambda: NOW,
) -> tuple[io.StringIO, Sink]:
    stream = io.StringIO()
    return stream, logs.configure(
        level=level, fmt=fmt, secrets=secrets, words=words, stream=stream, color=color, now=now
    )


def start_on(stream: TextIO | None) -> Sink:
    return logs.configure(level="DEBUG", fmt="console", secrets=(), stream=stream, now=lambda: NOW)


def fail(text: str) -> None:
    shouted = text.swapcase()
    raise RuntimeError(f"failed with {shouted.swapcase()}")
