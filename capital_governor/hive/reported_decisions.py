"""The decisions that agents report themselves, one JSON line each, in ``state/decisions/*.jsonl``.

Each file is read as it grows. If one was changed in another way, all are read anew.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from capital_governor.client import DECISIONS, DECISIONS_SUFFIX, MOST_DECISION_BYTES
from capital_governor.contracts.instants import read_instant
from capital_governor.hive.day_sums import DAY_SECONDS
from capital_governor.hive.decisions import SAME_SECONDS, AgentDecision, digest, entry_of, is_future
from capital_governor.hive.past import LONGEST_NAME, Past
from capital_governor.hive.state_files import finite
from capital_governor.hive.trade_statistics import WINDOW_DAYS

FOLDER: Final = Path(DECISIONS)
KEPT_ONE_BY_ONE: Final = 20_000
"""Of all agents; older decisions are kept as sums."""
LONGEST_LINE: Final = 64 << 10
MOST_BYTES: Final = MOST_DECISION_BYTES + (1 << 20)
"""Several writers at once may exceed the size that each of them checks."""
_CHUNK: Final = 1 << 20
_TAIL: Final = 256
_NAMED: Final = re.compile(rf"^(.+)\.\d{{4}}-\d\d{re.escape(DECISIONS_SUFFIX)}$")
_DECODER: Final = json.JSONDecoder(parse_constant=str, parse_float=finite)


@dataclass(slots=True)
class Reported:
    """What agents have reported.

    Args:
        past: their decisions of the last 30 days.
        first_at: by agent, the time of its first reported trade.
        newest_at: likewise, that of its newest decision.
        faults: by agent, why its figures cannot be trusted.
        problem: why nothing in the folder can be used; "missing" if there is none; empty if it can.
        warnings: one sentence each.
    """

    past: Past = field(default_factory=lambda: Past(kept=KEPT_ONE_BY_ONE))
    first_at: Mapping[str, float] = field(default_factory=dict)
    newest_at: Mapping[str, float] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    problem: str = "missing"
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _File:
    """What is known of a file, which is read up to ``read``, the end of its last whole line."""

    signature: tuple[int, int, int] = (0, 0, 0)  # inode, size, mtime_ns
    read: int = 0
    tail: bytes = b""
    lines: int = 0
    agents: set[str] = field(default_factory=set)
    newest_at: float = 0.0
    torn: list[int] = field(default_factory=list)
    nameless: int = 0
    naive: int = 0
    problem: str = ""


class _ChangedError(Exception):
    """A file was changed otherwise than by adding to it."""


class ReportedDecisions:
    """Reads the folder of a root.

    Args:
        root: the folder with ``state/``.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / FOLDER
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._files: dict[str, _File] = {}
        self._past = Past(kept=KEPT_ONE_BY_ONE)
        self._first_at: dict[str, float] = {}
        self._newest_at: dict[str, float] = {}
        self._ids: dict[str, float] = {}
        self._unreadable: dict[str, tuple[float | None, str]] = {}
        self._ahead: list[AgentDecision] = []
        self._covered: Counter[str] = Counter()

    def read(self, now: float, covered_until: Mapping[str, float]) -> Reported:
        """Read what was added; return all that is known.

        Args:
            now: seconds since 1970 UTC.
            covered_until: by agent, up to when another source has its decisions; reported ones until then are left
                out, so that none counts twice.
        """
        try:
            try:
                found = self._grown(now)
            except _ChangedError:
                self._begin_anew()
                found = self._grown(now)
        except FileNotFoundError:
            self._begin_anew()
            return Reported()
        except OSError as error:
            return Reported(problem=f"cannot be read: {error.strerror}")
        except _ChangedError:
            self._begin_anew()
            return Reported(problem="is being changed: do not rewrite its files again and again, but add lines to them")
        self._take_in(found, now, covered_until)
        return self._reported(now)

    def _reported(self, now: float) -> Reported:
        oldest = now - (WINDOW_DAYS + 1) * DAY_SECONDS
        newest_at = {agent: at for agent, at in self._newest_at.items() if at > oldest}
        return Reported(
            past=self._past,
            first_at={agent: at for agent, at in self._first_at.items() if agent in newest_at},
            newest_at=newest_at,
            faults=self._faults(now),
            problem="",
            warnings=tuple(self._warnings()),
        )

    # --- files --------------------------------------------------------------------------------------------------------

    def _grown(self, now: float) -> list[AgentDecision]:
        """Return the decisions that were added to the files. Raises OSError for the folder, and _ChangedError."""
        names = sorted(path.name for path in self._folder.iterdir() if path.suffix == DECISIONS_SUFFIX)
        for gone in self._files.keys() - set(names):
            if self._files[gone].newest_at > now - (WINDOW_DAYS + 1) * DAY_SECONDS:
                raise _ChangedError
            del self._files[gone]
        return [decision for name in names for decision in self._added(name)]

    def _added(self, name: str) -> Iterator[AgentDecision]:
        file, path = self._files.setdefault(name, _File()), self._folder / name
        try:
            if file.signature == _signature(path.stat()):
                return
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO never blocks
            with os.fdopen(fd, "rb", buffering=0) as opened:
                signature = _signature(found := os.fstat(fd))
                if not stat.S_ISREG(found.st_mode):
                    file.problem = "is no file"
                    return
                if file.read and (signature[0] != file.signature[0] or signature[1] <= file.signature[1]):
                    raise _ChangedError
                if file.tail != os.pread(fd, len(file.tail), file.read - len(file.tail)):
                    raise _ChangedError
                opened.seek(file.read)
                file.problem = ""
                for line in self._lines(file, opened):
                    yield from self._decisions(file, name, line)
                file.signature = signature
        except FileNotFoundError:  # removed since the folder was listed
            raise _ChangedError from None
        except OSError as error:
            file.problem = f"cannot be read: {error.strerror}"

    def _lines(self, file: _File, opened: Any) -> Iterator[bytes]:  # noqa: ANN401 - an unbuffered file
        """Yield the lines that were added, also a last one without its end if it is whole."""
        rest = b""
        while chunk := opened.read(min(_CHUNK, MOST_BYTES - file.read - len(rest))):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield self._consumed(file, line + b"\n")
            if len(rest) > LONGEST_LINE:
                file.problem = f"its line {file.lines + 1} is longer than {LONGEST_LINE >> 10} KiB"
                return
        if file.read + len(rest) >= MOST_BYTES:
            file.problem = f"is larger than {MOST_DECISION_BYTES >> 20} MiB, and the rest is not read"
        elif rest and not _objects(rest)[1]:
            yield self._consumed(file, rest)

    def _consumed(self, file: _File, line: bytes) -> bytes:
        file.read += len(line)
        file.lines += line.endswith(b"\n")
        file.tail = (file.tail + line)[-_TAIL:]
        return line

    # --- lines --------------------------------------------------------------------------------------------------------

    def _decisions(self, file: _File, name: str, line: bytes) -> Iterator[AgentDecision]:
        objects, torn = _objects(line)
        number = file.lines if line.endswith(b"\n") else file.lines + 1
        if torn:
            file.torn.append(number)
        for each in objects:
            agent = each.get("agent")
            if not isinstance(agent, str) or not agent or not agent.isprintable() or len(agent) > LONGEST_NAME:
                file.nameless += not torn  # a part of a torn line names no agent
                continue
            at = read_instant(each.get("timestamp"))
            pnl, given = each.get("pnl"), each.get("id")
            key = "" if given is None else digest(ascii((agent, given)))
            attributed = False if pnl is None else each.get("pnl_attributed", True)
            entry = entry_of(sys.intern(agent), each, at, key, attributed=attributed)
            file.agents.add(entry.agent)
            if entry.at is not None:
                file.newest_at = max(file.newest_at, entry.at)
                file.naive += at is not None and at.naive
            if key in self._ids:
                continue
            if key:
                self._ids[key] = entry.at or 0.0
            if entry.problem:
                where = f"{FOLDER / name}, line {number}: {entry.problem}: correct that line, or remove it"
                self._unreadable[agent] = (entry.at, where)
                continue
            yield entry

    def _take_in(self, found: list[AgentDecision], now: float, covered_until: Mapping[str, float]) -> None:
        ahead, self._ahead, taken = self._ahead, [], []
        oldest = now - (WINDOW_DAYS + 1) * DAY_SECONDS
        for entry in chain(ahead, found):
            at = entry.at or 0.0
            if is_future(at, now):
                self._ahead.append(entry)
            elif at <= covered_until.get(entry.agent, -math.inf) + SAME_SECONDS:
                self._covered[entry.agent] += 1
            elif at > oldest:
                taken.append(entry)
                self._newest_at[entry.agent] = max(at, self._newest_at.get(entry.agent, at))
                if entry.pnl is not None:
                    self._first_at[entry.agent] = min(at, self._first_at.get(entry.agent, at))
        if taken:
            self._past.add(taken, now)
            self._ids = {key: at for key, at in self._ids.items() if at > oldest}

    # --- what is wrong ------------------------------------------------------------------------------------------------

    def _faults(self, now: float) -> dict[str, str]:
        oldest = now - WINDOW_DAYS * DAY_SECONDS
        found = {agent: text for agent, (at, text) in self._unreadable.items() if at is None or at > oldest}
        for name, file in self._files.items():
            if file.problem:
                agents = file.agents or set(_NAMED.findall(unquote(name)))
                found |= dict.fromkeys(agents, f"{FOLDER / name} {file.problem}")
        return found

    def _warnings(self) -> Iterator[str]:
        for name, file in self._files.items():
            if file.problem:
                yield f"{FOLDER / name} {file.problem}"
            if len(file.torn) == 1:
                yield f"{FOLDER / name}, line {file.torn[0]}: torn or not JSON, and left out"
            elif file.torn:
                count, last = len(file.torn), file.torn[-1]
                yield f"{FOLDER / name}: {count} lines are torn or not JSON, and left out; the last is line {last}"
            if file.nameless:
                yield f"{FOLDER / name}: {file.nameless} decisions name no agent and are left out"
            if file.naive:
                yield f"{FOLDER / name}: {file.naive} decisions have a timestamp without a time zone, taken as UTC"
        if self._ahead:
            yield f"{len(self._ahead)} reported decisions are dated in the future and are left out"
        for agent, count in sorted(self._covered.items()):
            yield f"{count} reported decisions of {agent} are older than others of it in NeoLight's file, and left out"


def _objects(line: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Return the JSON objects of a line, and whether anything else is in it.

    A writer that was killed, or found the disk full, leaves a part of a line without its end. The line that is added
    next then follows on the same line of the file, and is read all the same.
    """
    text, found, torn, at = line.decode("utf-8", "replace").strip(" \t\r\n\0\ufeff"), [], False, 0
    while at < len(text):
        try:
            each, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            each, end = None, at
        if isinstance(each, dict):
            found.append(each)
            at = end + len(text[end:]) - len(text[end:].lstrip(" \t\r"))
        else:
            torn = True
            at = text.find("{", at + 1)
            if at < 0:
                break
    return found, torn


def _signature(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns
