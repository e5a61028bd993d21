"""The kinds of settings: how the text of each is read, and which values it takes.

Errors never repeat a value, so that no secret gets into a message. Standard library only, so that quick commands check
the settings without loading pydantic.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from capital_governor.core.model import Group
from capital_governor.settings.durations import read_duration
from capital_governor.settings.group_list import read_groups

UNITS: Final = {"": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_COUNT: Final = re.compile(r"[+-]?[0-9]{1,15}")
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?((?:[KMG]iB)?)", re.IGNORECASE)
_TAKEN: Final = {".json", ".lock", ".STOP", ".log", ".tmp"}  # endings of other files in the root
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?")
_SHORTEST_TOKEN: Final = 8
"""A shorter token might be a common word, which could not be hidden in texts."""
_LONGEST_TITLE: Final = 60
BOT_TOKEN: Final = re.compile(r"[0-9]{6,}:[A-Za-z0-9_-]{30,}")


_OUT_OF_RANGE: Final = "is out of range"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of setting.

    Args:
        takes: which values are allowed, in words.
        range: the same in short, for the manual: ``0..1``, ``>0..`` or words.
        read: turns a text into a value; a value of the right type stays. Raises ValueError with what is wrong, without
            the value.
    """

    takes: str
    range: str
    read: Callable[[object], Any]


def _number(value: object) -> float:
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError("is not a plain decimal number")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("is not a number")  # noqa: TRY004 - a wrong setting is a ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("is not a finite number")
    return number + 0.0  # -0.0 becomes 0.0


def read_seconds(value: object) -> float:
    """Return seconds from a number of them, or from a duration such as ``5m``. Raises ValueError without the value."""
    duration = read_duration(value) if isinstance(value, str) else None
    if duration is not None:
        return duration
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError("is neither a number nor a duration")
    return _number(value)


def _minutes(value: object) -> float:
    duration = read_duration(value) if isinstance(value, str) else None
    return read_seconds(value) if duration is None else duration / 60.0


def _count(value: object) -> int:
    if isinstance(value, str) and _COUNT.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("is not a whole number")


def _count_or_never(value: object) -> int | None:
    return None if value == "never" else int(COUNT.read(value))


def _groups(value: object) -> tuple[Group, ...]:
    return read_groups(value, RATIO.read)


def _size(value: object) -> int:
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(match[1]) * UNITS[match[2].upper()]
    return _count(value)


def _words(takes: str, *known: str, upper: bool = False) -> Kind:
    """Return the kind for a choice of words."""

    def read(value: object) -> str:
        word = value.upper() if upper and isinstance(value, str) else value
        if not isinstance(word, str) or word not in known:
            raise ValueError("is not one of its values")
        return word

    return Kind(takes, ", ".join(known), read)


def _text(read: Callable[[str], str]) -> Callable[[object], str]:
    def of_text(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("is not a text")  # noqa: TRY004 - as above
        return read(value)

    return of_text


def _numbers(
    takes: str,
    read: Callable[[object], float],
    *,
    above: float | None = None,
    low: float = -math.inf,
    high: float = math.inf,
) -> Kind:
    """Return the kind for the numbers of ``read`` above ``above`` or from ``low``, and up to ``high``."""

    def in_range(value: object) -> float:
        number = read(value)
        if (above is not None and number <= above) or not low <= number <= high:
            raise ValueError(_OUT_OF_RANGE)
        return number

    begins = f"{low:g}" if above is None else f">{above:g}"
    return Kind(takes, f"{begins}..{'' if high == math.inf else f'{high:.0f}'}", in_range)


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("0", "1"):
        raise ValueError("is neither")
    return value == "1"


def _url(value: str, *, query: bool) -> str:
    """Return the URL unchanged. Raises ValueError without any part of it."""
    if not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        raise ValueError("contains a blank or a character that must be percent-encoded")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
        named = bool(ipaddress.IPv6Address(host)) if "[" in parts.netloc else bool(_HOST.fullmatch(host))
    except ValueError:
        raise ValueError("has no valid host and port") from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError("is not an http:// or https:// URL")
    if "@" in parts.netloc:
        raise ValueError("has a user or password in it")
    if not named or port == 0:
        raise ValueError("has no valid host and port")
    if not query and ("?" in value or "#" in value):
        raise ValueError("has a query or fragment")
    return value


def _dashboard(value: str) -> str:
    return _url(value, query=False).rstrip("/")


def _bot_api(value: str) -> str:
    if BOT_TOKEN.search(value):
        raise ValueError("contains a token, which is appended by itself")
    return _url(value, query=False)


def _heartbeat(value: str) -> str:
    return _url(value, query=True)


def _token(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9:_-]+", value):
        raise ValueError("contains a character that no token has")
    return value


def _chat(value: str) -> str:
    if not re.fullmatch(r"-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]+", value):
        raise ValueError("is not a chat")
    return value


def _title(value: str) -> str:
    if not value.strip() or not value.isprintable() or len(value) > _LONGEST_TITLE:
        raise ValueError("is not such a text")
    return value.strip()


def _dashboard_token(value: str) -> str:
    if not re.fullmatch("[!-~]*", value):
        raise ValueError("contains a blank or a character that no header takes (leave out the word Bearer)")
    if len(value) < _SHORTEST_TOKEN:
        raise ValueError(f"has fewer than {_SHORTEST_TOKEN} characters")
    return value


def _path(value: object) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError("is not a path")  # noqa: TRY004 - as above
    return Path(value)


def _file(value: object) -> Path:
    value = _path(value)
    text = str(value)
    if not text.strip() or not value.name or value.name == ".." or not text.isprintable():
        raise ValueError("does not name a file")
    if value.suffix in _TAKEN or value.name == ".env":
        raise ValueError("names a file of another kind: a database has an ending such as .sqlite3")
    return value


RATIO: Final = _numbers("a number from 0 to 1", _number, low=0, high=1)
POSITIVE_RATIO: Final = _numbers("a number above 0, at most 1", _number, above=0, high=1)
POSITIVE: Final = _numbers("a number above 0", _number, above=0)
PERCENT: Final = _numbers("a percentage, 0 or more", _number, low=0)
_DURATION: Final = "or a duration such as 90s, 5m or 2h"
SECONDS: Final = _numbers(f"seconds, 0 or more, {_DURATION}", read_seconds, low=0)
INTERVAL: Final = _numbers(f"seconds above 0, at most 31,536,000, {_DURATION}", read_seconds, above=0, high=31_536_000)
DEADLINE: Final = _numbers(f"seconds above 0, at most 300, {_DURATION}", read_seconds, above=0, high=300)
AGE: Final = _numbers(f"seconds above 0, {_DURATION}", read_seconds, above=0)
HOUR: Final = _numbers("an hour of the day in UTC, 0 to 23", _count, low=0, high=23)
TOPIC: Final = _numbers("a topic's number: a whole number above 0", _count, low=1, high=(1 << 31) - 1)
MINUTES: Final = _numbers(f"minutes, 0 or more, {_DURATION}", _minutes, low=0)
DAYS: Final = _numbers("days: a number above 0", _number, above=0)
COUNT: Final = _numbers("a whole number from 0 to 1,000,000", _count, low=0, high=1_000_000)
COUNT_OR_NEVER: Final = Kind(
    "the word never, or a whole number from 0 to 1,000,000", "never, 0..1000000", _count_or_never
)
POSITIVE_COUNT: Final = _numbers("a whole number from 1 to 1,000,000", _count, low=1, high=1_000_000)
SIZE: Final = _numbers(
    "a whole number of bytes, KiB, MiB or GiB, 1024 to 1 GiB", _size, low=UNITS["KIB"], high=UNITS["GIB"]
)
SWITCH: Final = Kind("0 or 1", "0, 1", _switch)
GROUPS: Final = Kind(
    "groups with caps from 0 to 1, such as crypto=0.5:CryptoTrend,Grid*; sports=0.2:Sports*",
    "name=0..1:agent; ...",
    _groups,
)
PROFILE: Final = _words("original or steady", "original", "steady")
OVERRIDE: Final = _words("assert, report or off", "assert", "report", "off")
FORMAT: Final = _words("console or json", "console", "json")
LEVEL: Final = _words("DEBUG, INFO, WARNING or ERROR", "DEBUG", "INFO", "WARNING", "ERROR", upper=True)
FOLDER: Final = Kind("the folder with runtime/, state/, logs/ and .env", "a folder", _path)
FILE: Final = Kind("the path of a file, relative to the root", "a file", _file)
_HTTP: Final = "an http:// or https:// URL without user and password"
_SCHEMES: Final = "http, https"
DASHBOARD: Final = Kind(f"{_HTTP}, query and fragment", _SCHEMES, _text(_dashboard))
BOT_API: Final = Kind(f"{_HTTP}, query, fragment and token", _SCHEMES, _text(_bot_api))
HEARTBEAT: Final = Kind(_HTTP, _SCHEMES, _text(_heartbeat))
TITLE: Final = Kind(
    f"a text of at most {_LONGEST_TITLE} printable characters", f"1..{_LONGEST_TITLE} characters", _text(_title)
)
TOKEN: Final = Kind("the token that BotFather gave", "a token", _text(_token))
CHAT: Final = Kind("a chat's number, or @channelname", "number, @name", _text(_chat))
DASHBOARD_TOKEN: Final = Kind(
    f"a token of {_SHORTEST_TOKEN} or more printable ASCII characters without blanks",
    f"{_SHORTEST_TOKEN} characters or more",
    _text(_dashboard_token),
)
