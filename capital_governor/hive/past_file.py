"""The hive's history on disk: one file in ``state/``, replaced as a whole and validated strictly."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from capital_governor.hive.day_sums import DAY_SECONDS, DaySums
from capital_governor.hive.decisions import KEPT_DECISIONS, NOBODY, AgentDecision, record_of
from capital_governor.hive.past import AgentPast, Past
from capital_governor.hive.reported_decisions import Reported, ReportedDecisions
from capital_governor.hive.state_files import StateFile, StateFiles, bounded

PAST: Final = Path("state", "capital_governor_hive.json")
VERSION: Final = 1
MOST_BYTES: Final = 64 << 20
"""31 days of 10,000 agents take about 30 MB."""
PATIENCE_SECONDS: Final = 5.0
"""How long a look waits for another one; that takes so long only if the disk hangs."""
LONGEST_SECONDS: Final = 60.0
SHORTEST_SECONDS: Final = 5.0
TEMPORARY_SECONDS: Final = 3_600.0
"""A temporary file that is older was left by a killed process."""
_EPOCH: Final = date(1970, 1, 1).toordinal()

_Amount = Annotated[float, Field(ge=-1e24, le=1e24)]
_Count = Annotated[int, Field(ge=0)]
_Day = tuple[_Count, _Count, _Count, _Amount, _Amount, _Amount, _Amount, _Amount, _Amount, _Amount]
"""The fields of DaySums in order; the two times in seconds since the day began."""
_Days = dict[date, _Day]
_Decision = tuple[_Count, str, _Amount | None, _Amount | None, str]
"""The index of the agent's name, and the other fields of an AgentDecision."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", hide_input_in_errors=True)


class _Agent(_Part):
    first_at: _Amount | None
    latest_at: _Amount
    days: _Days


class _Document(_Part):
    source: Literal["capital_governor_hive"]
    version: Literal[1]
    since: _Amount | None
    names: list[str]
    left: list[_Decision]
    held: list[_Decision]
    agents: dict[str, _Agent]
    fleet: _Days
    gaps: list[tuple[_Amount, _Amount]]
    unread: dict[date, _Count]
    forgotten: _Count


class HistoryFile:
    """The history of a root, kept in memory and in its file; safe for several threads and processes.

    Args:
        root: the folder with ``state/``.
        say: takes a sentence for the log.

    Attributes:
        reported: what agents have reported themselves, as of the last look. It is in their own files only.
    """

    def __init__(self, root: Path, say: Callable[[str], object]) -> None:
        self.reported = Reported()
        self._folder = ReportedDecisions(root)
        self._path = root / PAST
        self._say = say
        self._lock = threading.Lock()
        self._past = Past()
        self._signature: tuple[int, ...] | None = None
        self._written = b""
        self._trouble = ""
        self._lost = ""
        self._swept = False

    @contextmanager
    def look(self, find: Callable[[], StateFiles], now: float) -> Iterator[tuple[StateFiles, Past | None, list[str]]]:
        """Add the decisions in the file to the history; yield files, history and warnings, fixed during the block.

        So is ``reported``, what agents have reported themselves.

        The files are read while no other look runs, since an older reading would look like a file that was put back. If
        another look hangs on the disk, the files are yielded without the history, with a warning.

        The history is also None for simulated decisions, which get new times whenever they are written. Never raises
        for the content of files: problems are in the warnings and in the log.

        Args:
            find: reads the files.
            now: seconds since 1970 UTC.
        """
        if not self._lock.acquire(timeout=PATIENCE_SECONDS):
            yield find(), None, [BUSY]
            return
        try:
            files = find()
            past, warnings = self._taken_in(files.performance, now)
            yield files, past, warnings
        finally:
            self._lock.release()

    def _taken_in(self, file: StateFile, now: float) -> tuple[Past | None, list[str]]:
        document = file.document or {}
        if document.get("simulated") is True:
            self.reported = self._folder.read(now, NOBODY)
            return None, []
        trouble = self._refresh(now)
        self.reported = self._folder.read(now, self._past.summed_until())
        record = record_of(document, now)
        if not isinstance(record, str) and (
            trouble or self._trouble or not self._written or self._past.held != record.entries
        ):
            for sentence in self._past.look(record.entries, now, self.reported.first_at):
                self._say(sentence)
            self._note(trouble or self._save())
        return self._past, [*filter(None, (self._lost, self._trouble)), *self._past.warnings()]

    def seconds_to_next(self) -> float:
        """Return in how many seconds to look again, so that no decision enters and leaves the file in between."""
        times = sorted(entry.at for entry in self._past.held if entry.at is not None)
        if len(times) < KEPT_DECISIONS:
            return LONGEST_SECONDS
        odd = len(times) // 20  # a twentieth at each end may have wrong times
        last = len(times) - 1
        span = (times[last - odd] - times[odd]) * last / (last - 2 * odd)
        return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, span / 4))

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._say(trouble or f"{PAST}: readable and writable again")
        self._trouble = trouble

    def _refresh(self, now: float) -> str:
        """Read what another process has written; return why that failed, if it did."""
        self._sweep()
        try:
            signature = _signature(self._path.stat())
            if signature == self._signature:
                return ""
            content = bounded(self._path, MOST_BYTES)
        except FileNotFoundError:
            self._signature, self._written = None, b""
            return ""
        except OSError as error:
            return f"{PAST} cannot be read ({error.strerror}): {_REMEDY}"
        try:
            self._past, self._written, self._signature = past_of(content), content, signature
        except ValueError as error:
            return self._set_aside(str(error), now)
        return ""

    def _set_aside(self, problem: str, now: float) -> str:
        stamp = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
        aside = self._path.with_name(f"{self._path.name}.corrupt-{stamp}")
        try:
            self._path.rename(aside)
        except OSError as error:
            return f"{PAST} {problem}, and cannot be set aside ({error.strerror}): {_REMEDY}"
        self._signature, self._written = None, b""
        self._lost = f"{PAST} {problem}: it was set aside as {aside.name}, and the history was begun anew"
        self._say(self._lost)
        return ""

    def _save(self) -> str:
        """Write the history if it has changed; return why that failed, if it did."""
        content = content_of(self._past)
        if content == self._written:
            return ""
        if len(content) > MOST_BYTES:  # reading it would fail
            return f"{PAST} would be larger than {MOST_BYTES >> 20} MiB and is not written: {_TOO_LARGE}"
        temporary = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                signature = _signature(os.fstat(file.fileno()))
            if self._changed():  # by another process since the refresh: the next look reads it
                return ""
            os.replace(temporary, self._path)  # noqa: PTH105 - named like the system call that is atomic
            self._written, self._signature = content, signature
        except OSError as error:
            return f"{PAST} cannot be written ({error.strerror}): {_REMEDY}"
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return ""

    def _changed(self) -> bool:
        try:
            return _signature(self._path.stat()) != self._signature
        except FileNotFoundError:
            return False

    def _sweep(self) -> None:
        """Delete, once, temporary files of killed processes."""
        if self._swept:
            return
        self._swept = True
        with suppress(OSError):
            for left in self._path.parent.glob(f".{self._path.name}.*"):
                if time.time() - left.stat().st_mtime > TEMPORARY_SECONDS:
                    left.unlink()


_REMEDY: Final = "the history is kept in memory only and ends with this process; see to the folder's space and rights"
BUSY: Final = (
    f"{PAST}: the history is busy: its disk hangs, and without it the windows may be too short: see to the disk"
)
_TOO_LARGE: Final = (
    "the history is kept in memory only and ends with this process; see what agents write as their names"
)


def content_of(past: Past) -> bytes:
    """Return the file's content for a history."""
    names = {name: number for number, name in enumerate(dict.fromkeys(e.agent for e in [*past.left, *past.held]))}

    def decisions(entries: list[AgentDecision]) -> list[_Decision]:
        return [(names[each.agent], each.key, each.at, each.pnl, each.problem) for each in entries]

    agents = {
        name: _Agent.model_construct(first_at=each.first_at, latest_at=each.latest_at, days=_rows(each.days))
        for name, each in past.agents.items()
    }
    document = _Document.model_construct(
        source="capital_governor_hive",
        version=VERSION,
        since=past.since,
        names=list(names),
        left=decisions(past.left),
        held=decisions(past.held),
        agents=agents,
        fleet=_rows(past.fleet),
        gaps=list(past.gaps),
        unread={_date(day): count for day, count in past.unread.items()},
        forgotten=past.forgotten,
    )
    return document.model_dump_json().encode()


def past_of(content: bytes) -> Past:
    """Return the history of a file's content.

    Raises:
        ValueError: it is not a history; the text is a clause that says why.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"is larger than {MOST_BYTES >> 20} MiB")
    try:
        read = _Document.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(
            f"is torn, of another version or not the hive's ({place} is not as the hive writes it)"
        ) from None

    def entries(decisions: list[_Decision]) -> list[AgentDecision]:
        return [AgentDecision(read.names[name], key, at, pnl, problem) for name, key, at, pnl, problem in decisions]

    try:
        left, held = entries(read.left), entries(read.held)
    except IndexError:
        raise ValueError("is torn: it has a decision of no agent") from None
    return Past(
        since=read.since,
        left=left,
        held=held,
        agents={name: AgentPast(a.first_at, a.latest_at, _sums(a.days)) for name, a in read.agents.items()},
        fleet=_sums(read.fleet),
        gaps=list(read.gaps),
        unread={_number(day): count for day, count in read.unread.items()},
        forgotten=read.forgotten,
    )


def _rows(days: Mapping[int, DaySums]) -> _Days:
    rows: _Days = {}
    for day, each in days.items():
        began = day * DAY_SECONDS
        times = (round(each.first_at - began, 3), round(each.last_at - began, 3)) if each.trades else (0.0, 0.0)
        amounts = (each.pnl, each.high, each.low, each.fall, each.fall_from)
        rows[_date(day)] = (each.decisions, each.trades, each.wins, *amounts, *times)
    return rows


def _sums(rows: _Days) -> dict[int, DaySums]:
    found = {}
    for each, (decisions, trades, wins, pnl, high, low, fall, fall_from, first, last) in rows.items():
        day = _number(each)
        began = day * DAY_SECONDS
        found[day] = DaySums(decisions, trades, wins, pnl, high, low, fall, fall_from, began + first, began + last)
    return found


def _date(day: int) -> date:
    return date.fromordinal(_EPOCH + day)


def _number(day: date) -> int:
    return day.toordinal() - _EPOCH


def _signature(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
