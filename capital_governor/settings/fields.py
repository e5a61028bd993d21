"""What each kind of setting may be: types that take the text a user wrote, and say what they take.

Their refusals never repeat a value, so that no secret gets into an error.
"""

from __future__ import annotations

import ipaddress
import math
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

UNITS: Final = {"": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_COUNT: Final = re.compile(r"[+-]?[0-9]{1,15}")
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?((?:[KMG]iB)?)", re.IGNORECASE)
_TAKEN: Final = {".json", ".lock", ".STOP", ".log", ".tmp"}  # endings of the files that live beside a journal
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?")
_LOOPBACK_NET: Final = 127
_SHORTEST_TOKEN: Final = 8
"""A shorter one could not be told from the words that it must be hidden among."""
BOT_TOKEN: Final = re.compile(r"[0-9]{6,}:[A-Za-z0-9_-]{30,}")


def _refusal(text: str) -> PydanticCustomError:
    return PydanticCustomError("problem", "{text}", {"text": text})


def _number(value: object) -> float:
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise _refusal("is not a plain decimal number")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _refusal("is not a number")
    number = float(value)
    if not math.isfinite(number):
        raise _refusal("is not a finite number")
    return number + 0.0  # -0.0 becomes 0.0


def _count(value: object) -> int:
    if isinstance(value, str) and _COUNT.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _refusal("is not a whole number")


def _size(value: object) -> int:
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(match[1]) * UNITS[match[2].upper()]
    return _count(value)


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("0", "1"):
        raise _refusal("is neither")
    return value == "1"


def _url(value: str, *, query: bool) -> str:
    """Return the URL unchanged, or refuse it without repeating any of it."""
    if not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        raise _refusal("contains a blank or a character that must be percent-encoded")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
        named = bool(ipaddress.IPv6Address(host)) if "[" in parts.netloc else bool(_HOST.fullmatch(host))
    except ValueError:
        raise _refusal("has no valid host and port") from None
    if parts.scheme not in {"http", "https"}:
        raise _refusal("is not an http:// or https:// URL")
    if "@" in parts.netloc:
        raise _refusal("has a user or password in it")
    if not named or port == 0:
        raise _refusal("has no valid host and port")
    if not query and ("?" in value or "#" in value):
        raise _refusal("has a query or fragment")
    return value


def _dashboard(value: str) -> str:
    return _url(value, query=False).rstrip("/")


def _bot_api(value: str) -> str:
    if BOT_TOKEN.search(value):
        raise _refusal("contains a token, which is appended by itself")
    return _url(value, query=False)


def _heartbeat(value: SecretStr) -> SecretStr:
    _url(value.get_secret_value(), query=True)
    return value


def _token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9:_-]+", value.get_secret_value()):
        raise _refusal("contains a character that no token has")
    return value


def _chat(value: str) -> str:
    if not re.fullmatch(r"-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]+", value):
        raise _refusal("is not a chat")
    return value


def is_loopback(host: str) -> bool:
    """Whether a host name or address is of this machine itself: localhost, 127.0.0.0/8 (127.1 too) or ::1."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            return socket.inet_aton(name)[0] == _LOOPBACK_NET
        except OSError:
            return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _dashboard_token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value()
    if not re.fullmatch("[!-~]*", token):
        raise _refusal("contains a blank or a character that no header takes (leave out the word Bearer)")
    if len(token) < _SHORTEST_TOKEN:
        raise _refusal(f"has fewer than {_SHORTEST_TOKEN} characters")
    return value


def _file(value: Path) -> Path:
    text = str(value)
    if not text.strip() or not value.name or value.name == ".." or not text.isprintable():
        raise _refusal("does not name a file")
    if value.suffix in _TAKEN or value.name == ".env":
        raise _refusal("names a file of another kind: a database has an ending such as .sqlite3")
    return value


def _takes(text: str, *, gt: float | None = None, ge: float | None = None, le: float | None = None) -> Any:  # noqa: ANN401 - as Field
    return Field(description=text, gt=gt, ge=ge, le=le)


_N = BeforeValidator(_number)
_C = BeforeValidator(_count)
Ratio = Annotated[float, _N, _takes("a number from 0 to 1", ge=0, le=1)]
PositiveRatio = Annotated[float, _N, _takes("a number above 0, at most 1", gt=0, le=1)]
Positive = Annotated[float, _N, _takes("a number above 0", gt=0)]
Percent = Annotated[float, _N, _takes("a percentage, 0 or more", ge=0)]
Seconds = Annotated[float, _N, _takes("seconds: a number, 0 or more", ge=0)]
Interval = Annotated[float, _N, _takes("seconds: a number above 0, at most 31,536,000", gt=0, le=31_536_000)]
Deadline = Annotated[float, _N, _takes("seconds: a number above 0, at most 300", gt=0, le=300)]
Age = Annotated[Annotated[float, _N, Field(gt=0)] | None, _takes("seconds: a number above 0")]
Hour = Annotated[Annotated[int, _C, Field(ge=0, le=23)] | None, _takes("an hour of the day in UTC, 0 to 23")]
Topic = Annotated[
    Annotated[int, _C, Field(ge=1, lt=1 << 31)] | None, _takes("a topic's number: a whole number above 0")
]
Days = Annotated[float, _N, _takes("days: a number above 0", gt=0)]
Count = Annotated[int, _C, _takes("a whole number from 0 to 1,000,000", ge=0, le=1_000_000)]
PositiveCount = Annotated[int, _C, _takes("a whole number from 1 to 1,000,000", ge=1, le=1_000_000)]
Size = Annotated[
    int,
    BeforeValidator(_size),
    _takes("a whole number of bytes, KiB, MiB or GiB, 1024 to 1 GiB", ge=1 << 10, le=1 << 30),
]
Switch = Annotated[bool, BeforeValidator(_switch), _takes("0 or 1")]
Override = Annotated[Literal["assert", "report", "off"], _takes("assert, report or off")]
Format = Annotated[Literal["console", "json"], _takes("console or json")]
Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper), _takes("DEBUG, INFO, WARNING or ERROR")
]
Root = Annotated[Path, _takes("the folder with runtime/, state/, logs/ and .env")]
File = Annotated[Path, AfterValidator(_file), _takes("the path of a file, relative to the root")]
_HTTP: Final = "an http:// or https:// URL without user and password"
Dashboard = Annotated[str, AfterValidator(_dashboard), _takes(f"{_HTTP}, query and fragment")]
BotApi = Annotated[str, AfterValidator(_bot_api), _takes(f"{_HTTP}, query, fragment and token")]
Heartbeat = Annotated[Annotated[SecretStr, AfterValidator(_heartbeat)] | None, _takes(_HTTP)]
Token = Annotated[Annotated[SecretStr, AfterValidator(_token)] | None, _takes("the token that BotFather gave")]
Chat = Annotated[Annotated[str, AfterValidator(_chat)] | None, _takes("a chat's number, or @channelname")]
DashboardToken = Annotated[
    Annotated[SecretStr, AfterValidator(_dashboard_token)] | None,
    _takes("a token of 8 or more printable ASCII characters without blanks"),
]
