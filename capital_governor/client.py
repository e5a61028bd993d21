"""Read an agent's share of all capital safely, and report its decisions.

Import this module, or copy this one file: it needs only Python 3.11.

    from capital_governor.client import record, share

    capital = equity * share("SmartTrader", root="/home/me/neolight", fallback=0.0)
    ...
    record("SmartTrader", 12.5, root="/home/me/neolight")    # a trade closed, with a profit of 12.5

The governor *vouches* for its shares until ``valid_until`` of its status file, which it renews in every cycle. A hold
keeps the shares, so they are valid during a hold too. If the governor does not vouch (it is dead, or its files are
missing, torn, foreign or invalid), the result is the ``fallback``, which the agent chooses:

- a number, 0..1: that share, for every agent. 0.0 deploys nothing.
- ``HOLD``: the last published share, from the file; if that is unusable, the one that this process read last, or
  else 0. It never expires, so check ``age``.
- ``FLOOR``: the minimum that the last publication promised to each agent, and at most its last share.

While Guardian pauses the fleet, the result is the ``paused`` fallback: by default ``HOLD``, since the governor keeps
the allocations and a pause is not an order to sell.

For a share, the content of the files never raises an error, a FIFO never blocks, and at most 16 MiB are read. Wrong
arguments raise ValueError.

``record`` is for fleets whose metrics the hive computes. It appends one line to a file of the agent's own, and raises
NotRecordedError, an OSError, if it cannot. The same in a shell:

    python3 client.py record SmartTrader 12.5 --root /home/me/neolight
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType

TYPE_CHECKING = False  # typing's own takes time to import; type checkers know the name
if TYPE_CHECKING:
    from typing import TypeGuard

HOLD = "hold"
FLOOR = "floor"

DECISIONS = "state/decisions"
"""The folder with the agents' files of decisions, below the root."""
DECISIONS_SUFFIX = ".jsonl"
MOST_DECISION_BYTES = 64 * 1024 * 1024
"""The largest size of a file of decisions; there is one for each agent and month."""
MOST_PNL = 1e12
"""A larger profit or loss is an error."""

_MAX_BYTES = 16 * 1024 * 1024
_FUTURE_TOLERANCE_SECONDS = 60.0
_SUM_TOLERANCE = 1e-6
_MOST_ROOTS = 64
_NAME = r"[A-Za-z0-9][A-Za-z0-9 _.:-]{0,63}"
_RESERVED = ("allocations", "reserve")
_LONGEST_ID = 100
_KEPT_FILES = 6
"""Of an agent. The last 30 days are in at most three; a wrong clock may have added one."""


class Allocations:
    """The shares of the agents.

    Attributes:
        shares: agent to share of all capital, 0..1; empty if the fallback is a number.
        reserve: the share of no agent, 0..1; None if ``shares`` are unknown.
        generation: the number of the publication; 0 for an adopted one of another program, None without any.
        age: seconds since the governor's last cycle; None if unknown.
        stale: whether the governor does not vouch for the shares now, so that ``fallback`` is used.
        source: "capital_governor" (its file), "memory" (what this process read last) or "fallback" (a number).
        reason: why this is not a plain published allocation, for a log; "holding: ..." during a hold; empty if all is
            well.
        fallback: the share of an agent without a line; 0 while the governor vouches.
    """

    # Written out, since importing dataclasses takes longer than all the rest of this module.
    __slots__ = ("age", "fallback", "generation", "reason", "reserve", "shares", "source", "stale")

    def __init__(  # noqa: PLR0913 - one keyword per field, as in a dataclass
        self,
        *,
        shares: Mapping[str, float],
        reserve: float | None,
        generation: int | None,
        age: float | None,
        stale: bool,
        source: str,
        reason: str,
        fallback: float = 0.0,
    ) -> None:
        self.shares: Mapping[str, float] = MappingProxyType(dict(shares))
        self.reserve = reserve
        self.generation = generation
        self.age = age
        self.stale = stale
        self.source = source
        self.reason = reason
        self.fallback = fallback

    def share(self, agent: str) -> float:
        """Return the agent's share of all capital, 0..1."""
        return self.shares.get(agent, self.fallback)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"Allocations({fields})"


def share(
    agent: str,
    *,
    root: str | os.PathLike[str] | None = None,
    fallback: float | str = 0.0,
    paused: float | str = HOLD,
    max_age_seconds: float | None = None,
) -> float:
    """Return the agent's share of all capital, 0..1. The arguments are those of ``read_allocations``."""
    return read_allocations(root, fallback=fallback, paused=paused, max_age_seconds=max_age_seconds).share(agent)


def read_allocations(
    root: str | os.PathLike[str] | None = None,
    *,
    fallback: float | str = 0.0,
    paused: float | str = HOLD,
    max_age_seconds: float | None = None,
) -> Allocations:
    """Return all shares, and whether and why the governor does not vouch for them.

    Args:
        root: the NeoLight folder; else NEOLIGHT_ROOT, else the current folder.
        fallback: the result if the governor does not vouch: 0..1, ``HOLD`` or ``FLOOR``.
        paused: the result while Guardian pauses the fleet: 0..1, ``HOLD`` or ``FLOOR``.
        max_age_seconds: the governor also counts as dead if its last cycle was longer ago; None: only ``valid_until``
            counts, which is the larger of 60 s and three intervals after the last cycle.

    Raises:
        ValueError: an argument is none of these. No state of the files raises.
    """
    _check(fallback, paused, max_age_seconds)
    folder = os.path.join(os.fspath(root or os.environ.get("NEOLIGHT_ROOT") or "."), "runtime")  # noqa: PTH118 - importing pathlib takes too long
    # The status file first, so that the shares are never older than the status.
    pulse = _pulse(folder, max_age_seconds)
    published = _published(folder)
    if isinstance(published, str):
        known = _last_read.get(folder)
        return _answer(fallback, known, "memory", pulse, published)
    _remember(folder, published)
    if pulse.problem:
        return _answer(fallback, published, "capital_governor", pulse, pulse.problem)
    reason = pulse.hold
    if pulse.generation is not None and published.generation < pulse.generation:
        behind = f"the file has generation {published.generation}, the governor published {pulse.generation}"
        reason = f"{reason}; {behind}" if reason else behind
    choice = paused if pulse.paused else HOLD
    return _answer(choice, published, "capital_governor", pulse, reason, stale=False)


def _check(fallback: float | str, paused: float | str, max_age_seconds: float | None) -> None:
    for name, value in (("fallback", fallback), ("paused", paused)):
        if value not in (HOLD, FLOOR) and not _is_ratio(value):
            raise ValueError(f"{name}={value!r} is neither a share within 0..1 nor HOLD nor FLOOR")
    if max_age_seconds is not None and not (_is_number(max_age_seconds) and max_age_seconds > 0):
        raise ValueError(f"max_age_seconds={max_age_seconds!r} is not a number above 0")


def _answer(
    choice: float | str,
    known: _Published | None,
    source: str,
    pulse: _Pulse,
    reason: str,
    *,
    stale: bool = True,
) -> Allocations:
    """Return the result of the agent's choice with the last known publication."""
    if known is None or not isinstance(choice, str):
        return Allocations(
            shares={},
            reserve=None,
            generation=None if known is None else known.generation,
            age=pulse.age,
            stale=stale,
            source="fallback",
            reason=reason,
            fallback=0.0 if isinstance(choice, str) else float(choice),
        )
    shares, reserve = known.shares, known.reserve
    if choice == FLOOR:
        shares = {agent: min(share, known.floor) for agent, share in shares.items()}
        reserve = 1.0 - sum(shares.values())
    return Allocations(
        shares=shares,
        reserve=reserve,
        generation=known.generation,
        age=pulse.age,
        stale=stale,
        source=source,
        reason=reason,
    )


# --- report a decision ------------------------------------------------------------------------------------------------


class NotRecordedError(OSError):
    """The decision could not be written; the text says why and what to do, ``errno`` is the system's number."""


def record(
    agent: str,
    pnl: float | None,
    *,
    root: str | os.PathLike[str] | None = None,
    at: datetime | None = None,
    decision_id: str = "",
) -> None:
    """Report one decision of an agent, usually a closed trade, to the hive.

    One line is appended to ``state/decisions/AGENT.YEAR-MONTH.jsonl`` below the root, by one write. Any number of
    threads and processes may do so at once, without a lock (on a disk of this machine, not on NFS). The agent's files
    of the last 30 days stay; of the older ones some are removed when a month begins.

    Args:
        agent: its name, as in the allocations: 1 to 64 characters of ``A-Z a-z 0-9 space _ . : -``, of which the first
            is a letter or digit.
        pnl: profit or loss in account currency, after costs; None for a decision that closed no trade, which only
            shows that the agent is at work.
        root: the NeoLight folder, which must have a folder ``state``; else NEOLIGHT_ROOT, else the current folder.
        at: when it was decided, with a time zone, at most 60 s ahead; None: now.
        decision_id: of the agent's decisions with the same one, only the first counts. An agent that does not know
            whether it has recorded a decision can therefore record it again. At most 100 printable characters.

    Raises:
        ValueError: an argument is none of these. Nothing was written.
        NotRecordedError: it could not be written, so it does not count: no such root, no right to write, the disk is
            full, or the file has 64 MiB, which is more than 500,000 decisions in a month.
    """
    now = datetime.now(UTC)
    line = _line(agent, pnl, now if at is None else at, now, decision_id)
    place = os.fspath(root or os.environ.get("NEOLIGHT_ROOT") or ".")
    path = f"{place}/{DECISIONS}/{_file_stem(agent)}.{now:%Y-%m}{DECISIONS_SUFFIX}"
    try:
        _make_folder(place)
        _append(path, line)
    except OSError as error:
        problem = NotRecordedError(f"the decision of {agent} is not recorded: {path}: {_remedy(error, place)}")
        problem.errno = error.errno
        raise problem from None


def _line(agent: str, pnl: float | None, at: datetime, now: datetime, decision_id: str) -> bytes:
    """Return the line of a decision. Raises ValueError."""
    if not isinstance(agent, str) or not re.fullmatch(_NAME, agent):
        raise ValueError(
            f"agent={agent!r} is no name of an agent: 1 to 64 characters of A-Z a-z 0-9 space _ . : -, of which the"
            " first is a letter or digit"
        )
    if agent.lower() in _RESERVED:
        raise ValueError(f"agent={agent!r} is a word of the allocation files, and no name of an agent")
    if pnl is not None and not (_is_number(pnl) and abs(pnl) <= MOST_PNL):  # NaN is not
        raise ValueError(f"pnl={pnl!r} is neither an amount up to {MOST_PNL:g} nor None")
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise ValueError(f"at={at!r} is not a datetime with a time zone, such as datetime.now(UTC)")
    ahead = (at - now).total_seconds()
    if ahead > _FUTURE_TOLERANCE_SECONDS:
        raise ValueError(f"at={at.isoformat()} is {ahead:.0f} s in the future")
    if not isinstance(decision_id, str) or len(decision_id) > _LONGEST_ID or not decision_id.isprintable():
        raise ValueError(f"decision_id={decision_id!r} is not up to {_LONGEST_ID} printable characters")
    stamp = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    decision = {"agent": agent, "pnl": pnl, "timestamp": stamp} | ({"id": decision_id} if decision_id else {})
    return json.dumps(decision).encode() + b"\n"


def _file_stem(agent: str) -> str:
    """Return an agent's name as part of a file name; those of two names differ."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda found: f"%{ord(found[0]):02X}", agent)


def _make_folder(place: str) -> None:
    """Make the folder of the decisions, but no root: a wrong one would swallow every decision."""
    os.stat(f"{place}/state/.")  # noqa: PTH116 - importing pathlib takes too long
    with suppress(FileExistsError):
        os.mkdir(f"{place}/{DECISIONS}")  # noqa: PTH102


def _append(path: str, line: bytes) -> None:
    """Append a line by one write, which no other writer can divide. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a FIFO never blocks
    fd = os.open(path, flags, 0o666)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        if found.st_size + len(line) > MOST_DECISION_BYTES:
            raise OSError(errno.EFBIG, "too large")
        # The rest of a line that was written in part is not sent after it: it could end up behind another's line. The
        # hive leaves such a part out, and reads the line that follows it.
        if os.write(fd, line) < len(line):
            raise OSError(errno.ENOSPC, "no space")
    finally:
        os.close(fd)
    if found.st_size == 0:
        _remove_old(path)


def _remove_old(path: str) -> None:
    """Remove all but an agent's newest files, by the months in their names."""
    folder, _, name = path.rpartition("/")
    stem = name[: -len("2025-11" + DECISIONS_SUFFIX)]
    form = re.compile(re.escape(stem) + r"\d{4}-\d\d" + re.escape(DECISIONS_SUFFIX))
    for old in sorted(filter(form.fullmatch, os.listdir(folder)))[:-_KEPT_FILES]:  # noqa: PTH208
        with suppress(OSError):  # gone already, or not ours; the decision is recorded all the same
            os.unlink(f"{folder}/{old}")  # noqa: PTH108


def _remedy(error: OSError, place: str) -> str:
    """Return what went wrong and what to do."""
    match error.errno:
        case errno.ENOENT:
            return (
                f"there is no folder {place}/state: give the fleet's root, or make that folder if {place} is the root"
            )
        case errno.ENOSPC | errno.EDQUOT:
            return "the disk is full: make room, then record it again"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{error.strerror}: let the agent's user write there, then record it again"
        case errno.EFBIG:
            return f"the file may not be larger than {MOST_DECISION_BYTES >> 20} MiB: report only closed trades"
        case _:
            return str(error.strerror or error)


# --- what the files say -----------------------------------------------------------------------------------------------


class _UnusableError(Exception):
    """Why a file cannot be used, in one clause."""


class _Pulse:
    """The governor's state in the status file; ``problem`` is empty if it vouches for its shares."""

    __slots__ = ("age", "generation", "hold", "paused", "problem")

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.age: float | None = None
        self.generation: int | None = None
        self.hold = ""
        self.paused = False


class _Published:
    """A valid publication; ``floor`` is the least share that it promised to each agent."""

    __slots__ = ("floor", "generation", "reserve", "shares")

    def __init__(self, shares: dict[str, float], reserve: float, generation: int, floor: float) -> None:
        self.shares = shares
        self.reserve = reserve
        self.generation = generation
        self.floor = floor


_last_read: dict[str, _Published] = {}


def _remember(folder: str, published: _Published) -> None:
    if len(_last_read) >= _MOST_ROOTS and folder not in _last_read:
        _last_read.clear()
    _last_read[folder] = published


def _pulse(folder: str, max_age_seconds: float | None) -> _Pulse:
    try:
        status = _document(folder, "capital_governor_status.json")
        at, until = _instant(status, "timestamp"), _instant(status, "valid_until")
    except _UnusableError as error:
        return _Pulse(str(error))
    now = time.time()
    generation, state, reason = status.get("generation"), status.get("state"), status.get("reason")
    pulse = _Pulse()
    pulse.age = max(0.0, now - at)
    if at > now + _FUTURE_TOLERANCE_SECONDS:
        pulse.problem = f"the governor's last cycle is {at - now:.0f} s in the future: a clock is wrong"
    elif now > until:
        gone = "was ended" if state == "ended" else "is dead"
        pulse.problem = f"the governor {gone}: its last cycle was {pulse.age:.0f} s ago"
    elif max_age_seconds is not None and pulse.age > max_age_seconds:
        pulse.problem = f"the governor's last cycle was {pulse.age:.0f} s ago, more than {max_age_seconds:g} s"
    if type(generation) is int:
        pulse.generation = generation
    if state == "holding":
        pulse.hold = f"holding: {reason[:80]}" if isinstance(reason, str) else "holding"
        pulse.paused = reason == "paused"
    elif state == "ended":
        pulse.hold = "the governor was ended"
    return pulse


def _published(folder: str) -> _Published | str:
    """Return the publication in the primary file, or why it cannot be used."""
    try:
        return _sound(_document(folder, "capital_governor_allocations.json"))
    except _UnusableError as error:
        return str(error)


def _sound(document: dict[str, object]) -> _Published:
    source, allocations = document.get("source"), document.get("allocations")
    if source != "capital_governor":
        whose = f"is {source[:40]!r}" if isinstance(source, str) else "is missing"
        raise _UnusableError(f"the allocation file is not the governor's: its source {whose}")
    if not isinstance(allocations, dict) or not all(map(_is_ratio, allocations.values())):
        raise _UnusableError("the allocation file is no map of agents to shares within 0..1")
    shares = {agent: float(part) for agent, part in allocations.items()}
    deployed = sum(shares.values())
    reserve = _ratio(document, "reserve", max(0.0, 1.0 - deployed))
    if abs(deployed + reserve - 1.0) > _SUM_TOLERANCE:
        raise _UnusableError("the allocation file's shares and reserve do not add up to 1")
    generation = document.get("generation", 0)
    if type(generation) is not int or generation < 0:
        raise _UnusableError("the allocation file's generation is not a whole number")
    # A file without generation and exposure is the previous program's.
    factors = (("min_allocation", 0.0), ("floor_scale", 1.0), ("exposure", 1.0))
    minimum, scale, exposure = (_ratio(document, name, default) for name, default in factors)
    return _Published(shares, reserve, generation, minimum * scale * exposure)


def _document(folder: str, name: str) -> dict[str, object]:
    """Return the JSON object in a file. Raises _UnusableError."""
    try:
        document = json.loads(_content(f"{folder}/{name}").decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except FileNotFoundError:
        raise _UnusableError(f"there is no {name}: has the governor run on this root?") from None
    except OSError as error:
        raise _UnusableError(f"{name} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError, MemoryError):
        raise _UnusableError(f"{name} is torn or not JSON") from None
    if not isinstance(document, dict):
        raise _UnusableError(f"{name} is not a JSON object")
    return document


def _content(path: str) -> bytes:
    """Return a regular file's bytes. Raises OSError, and ValueError for an impossible path."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)  # non-blocking for a FIFO
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is not a regular file")
        content = bytearray()
        while part := os.read(fd, min(_MAX_BYTES + 1 - len(content), 1 << 20)):
            content += part
    finally:
        os.close(fd)
    if len(content) > _MAX_BYTES:
        raise OSError(0, f"it is longer than {_MAX_BYTES} bytes")
    return bytes(content)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _instant(document: dict[str, object], name: str) -> float:
    """Return a field's ISO time as seconds since 1970 UTC. Raises _UnusableError.

    Without a zone, which the governor never writes, it is the earlier of UTC and local time.
    """
    text = document.get(name)
    try:
        moment = datetime.fromisoformat(text if isinstance(text, str) else "")
        if moment.tzinfo is not None:
            return moment.timestamp()
        return min(moment.replace(tzinfo=UTC).timestamp(), *(moment.replace(fold=fold).timestamp() for fold in (0, 1)))
    except (ValueError, OverflowError):
        raise _UnusableError(f"the status file has no {name}") from None


def _ratio(document: dict[str, object], name: str, default: float) -> float:
    value = document.get(name, default)
    if not _is_ratio(value):
        raise _UnusableError(f"the allocation file's {name} is not within 0..1")
    return value


def _is_ratio(value: object) -> TypeGuard[float]:
    return _is_number(value) and 0 <= value <= 1  # False for NaN


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- in a shell -------------------------------------------------------------------------------------------------------


def _main() -> int:
    """Run ``record`` by the command line; return 0, 75 (try again later) or 78 (a person must act)."""
    import argparse  # noqa: PLC0415 - agents that import this module do not need it

    parser = argparse.ArgumentParser(prog="client.py", description="What an agent reports to the Capital Governor.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    each = commands.add_parser(
        "record",
        help="Report a decision, usually a closed trade.",
        description="Append a decision of an agent to its file in state/decisions/, for the hive. The exit code is 0 if"
        " it is recorded; else it does not count, and the code is 75 if the disk is full, 78 if a person must act, and"
        " 2 if an argument is wrong.",
    )
    each.add_argument("agent", metavar="AGENT", help="Its name, as in the allocations.")
    each.add_argument("pnl", metavar="PNL", help="Profit or loss in account currency, or none if no trade was closed.")
    each.add_argument("--at", metavar="TIME", help="When, as in 2025-11-03T21:14:07Z. Default: now.")
    each.add_argument("--id", default="", metavar="TEXT", help="Of decisions with the same id only the first counts.")
    each.add_argument("--root", metavar="PATH", help="Default: NEOLIGHT_ROOT, else the current folder.")
    given = parser.parse_args()
    try:
        record(given.agent, _amount(given.pnl), root=given.root, at=_time(given.at), decision_id=given.id)
    except NotRecordedError as error:
        print(f"record: {error}", file=sys.stderr)  # noqa: T201
        return 75 if error.errno in {errno.ENOSPC, errno.EDQUOT} else 78
    except ValueError as error:
        each.error(str(error))
    return 0


def _amount(text: str) -> float | None:
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise ValueError(f"PNL is {text!r}, and must be an amount such as 12.5 or -3, or none") from None


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--at is {text!r}, and must be a time such as 2025-11-03T21:14:07Z") from None


if __name__ == "__main__":
    raise SystemExit(_main())
