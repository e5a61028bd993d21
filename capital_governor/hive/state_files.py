"""The files that NeoLight's agents write: limits their size, and reports what is wrong with each."""

from __future__ import annotations

import codecs
import errno
import json
import math
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PERFORMANCE: Final = Path("state", "performance_attribution.json")
STRATEGIES: Final = Path("state", "strategy_performance.json")
REVENUE: Final = Path("state", "revenue_by_agent.json")
REGIME: Final = Path("runtime", "market_regime.json")
PAUSE: Final = Path("state", "guardian_pause.json")

MAX_BYTES: Final = 16 << 20
"""A thousand decisions take about 300 KB."""
MAX_DEPTH: Final = 50
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
"""Byte-order marks, which some editors write, and the encoding of the text after each."""
_ESCAPED_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class StateFile:
    """The content of one file.

    Args:
        document: the JSON object in it; None if it cannot be read.
        problem: "missing", or what else is wrong; empty if nothing.
    """

    document: dict[str, Any] | None = None
    problem: str = ""

    @property
    def missing(self) -> bool:
        """Whether there is no such file, which may be right."""
        return self.problem == MISSING.problem


MISSING: Final = StateFile(problem="missing")


@dataclass(frozen=True, slots=True)
class StateFiles:
    """The files that the payload is made of."""

    performance: StateFile = MISSING
    strategies: StateFile = MISSING
    revenue: StateFile = MISSING
    regime: StateFile = MISSING
    pause: StateFile = MISSING

    @property
    def by_path(self) -> dict[str, StateFile]:
        """Each file by its path below the root."""
        found = zip(_PATHS, (self.performance, self.strategies, self.revenue, self.regime, self.pause), strict=True)
        return {str(path): file for path, file in found}


_PATHS: Final = (PERFORMANCE, STRATEGIES, REVENUE, REGIME, PAUSE)


def read_all(root: Path) -> StateFiles:
    """Read all five files below ``root``. Never raises for their content."""
    return StateFiles(*(read_state_file(root / path) for path in _PATHS))


def read_state_file(path: Path) -> StateFile:
    """Read one file of at most 16 MiB that holds one JSON object, in UTF-8, or in UTF-16 with a byte-order mark.

    Python writes NaN and Infinity, which JSON does not have. They are read as the texts "NaN" and "Infinity", so that
    one such number does not make the whole file unreadable.
    """
    try:
        content = bounded(path, MAX_BYTES)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return StateFile(problem=f"cannot be read: {error.strerror or error}")
    if len(content) > MAX_BYTES:
        return StateFile(problem=f"larger than {MAX_BYTES >> 20} MiB")
    try:
        document = _parsed(content)
    except (ValueError, RecursionError) as error:
        return StateFile(problem=_sentence(error))
    if _deeper_than(MAX_DEPTH, document):
        return StateFile(problem="nested too deeply")
    return StateFile(document) if isinstance(document, dict) else StateFile(problem="not a JSON object")


def bounded(path: Path, limit: int) -> bytes:
    """Return the content of the file, at most ``limit`` + 1 bytes. Raises OSError."""
    # Without O_NONBLOCK, opening a FIFO would block. It has no effect on a file.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a file")
        return file.read(limit + 1)


@dataclass(slots=True)
class Watch:
    """Reports each change of a file's problem once."""

    known: dict[str, str] = field(default_factory=dict)

    def news(self, files: StateFiles) -> list[str]:
        """Return a sentence for each file whose problem has changed since the last call."""
        # A missing pause file is normal.
        known = {path: file for path, file in files.by_path.items() if path != str(PAUSE) or not file.missing}
        now = dict.fromkeys(self.known, "") | {path: file.problem for path, file in known.items()}
        changed = {path: problem for path, problem in now.items() if problem != self.known.get(path, "")}
        self.known = now
        return [f"{path}: {problem or 'readable again'}" for path, problem in changed.items()]


def _parsed(content: bytes) -> Any:  # noqa: ANN401 - any JSON value
    text = content.decode(next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8"))
    document = json.loads(text, parse_constant=str, parse_float=finite)
    if _ESCAPED_SURROGATE.search(text):  # a lone surrogate would make the whole payload unreadable
        document = json.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    return document


def _sentence(error: ValueError | RecursionError) -> str:
    match error:
        case RecursionError():
            return "nested too deeply"
        case UnicodeDecodeError():
            return f"torn or no {error.encoding.upper()}: {error.reason} at byte {error.start}: save it as UTF-8"
        case json.JSONDecodeError():
            return f"torn or no JSON: {error.msg} at character {error.pos} of {len(error.doc)}"
        case _:  # an integer of more digits than Python converts
            return "has a number that is too long"


def finite(text: str) -> float | str:
    """Return the number that a JSON text means; the text itself if it is too large for one."""
    number = float(text)
    return number if math.isfinite(number) else text


def _deeper_than(limit: int, document: object) -> bool:
    level: list[Any] = [document] if isinstance(document, dict | list) else []
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
