"""The format of log lines: structlog processors that turn an event and its fields into a line.

An event of the governor is a name and fields (``log.info("allocations_saved", generation=41)``), and ``Wording`` adds
its sentence. On the console the sentence is the line; in JSON it is beside name and fields. An event without a sentence
(of another library, or a plain text) is shown as it is, followed by its fields.
"""

from __future__ import annotations

import json
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal

from capital_governor.adapters.partial_imports import without
from capital_governor.adapters.printable import escape, text_of
from capital_governor.adapters.redaction import FIXED, Redaction

with without("rich"):  # only structlog's console renderer needs it
    from structlog.processors import ExceptionRenderer, JSONRenderer, add_log_level
    from structlog.typing import EventDict, Processor

TAG: Final = "capital_governor"

_PLAIN_VALUE: Final = re.compile(r'[^\s"=\\]+')
_COLORS: Final = {"DEBUG": "\x1b[2m", "INFO": "\x1b[32m", "WARNING": "\x1b[33m"}
_RED: Final = "\x1b[31m"
_RESET: Final = "\x1b[0m"

Format = Literal["console", "json"]
Words = Callable[[str, Mapping[str, Any]], str | None]
"""Returns the sentence of an event from its name and fields; None if it is not one of the governor's."""


class Formatter:
    """Turns an event into a line, for structlog's loggers and for the standard library's.

    Args:
        fmt: "console" for lines to read, "json" for one object a line.
        color: whether the console's level has a colour.
        redaction: hides secrets.
        words: returns the sentence of an event.
        now: the clock, in seconds since 1970 UTC.
    """

    def __init__(
        self,
        fmt: Format,
        *,
        color: bool,
        redaction: Redaction,
        words: Words = lambda *_: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.processors: Sequence[Processor] = (
            _keep_apart,
            add_log_level,
            _Stamp(now),
            ExceptionRenderer(_traceback),
            _Wording(words, with_fields=fmt == "json"),
            redaction,
            *((_document, JSONRenderer(_dump)) if fmt == "json" else (_escape, _Console(color=color))),
        )

    def line(self, level: str, event: str, **fields: object) -> str:
        """Return the line of one event, with a traceback on the console the lines, without the last newline.

        Args:
            level: a method name of a logger, as ``warning``.
            event: the name of an event of the governor, or a text.
            fields: of the event; ``exc_info`` as for loggers.
        """
        line: Any = {**fields, "event": event}
        for processor in self.processors:
            line = processor(None, level, line)
        return str(line)


# --- from an event to its document ------------------------------------------------------------------------------------


def _keep_apart(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Rename fields that have the name of a fixed field; ``event`` is never a field."""
    for name in FIXED:
        if name in event and name != "event":
            event[f"{name}_"] = event.pop(name)
    event["event"] = text_of(event.get("event", ""))
    return event


class _Stamp:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        event["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._now()))
        return event


def _traceback(exc_info: tuple[type[BaseException], BaseException, TracebackType | None]) -> str:
    """Return a traceback without values of variables."""
    return "".join(traceback.format_exception(exc_info[1])).rstrip()


class _Wording:
    """Replaces the name of an event by its sentence; with fields, the name is kept as ``event_name``."""

    def __init__(self, words: Words, *, with_fields: bool) -> None:
        self._words = words
        self._with_fields = with_fields

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        name = event["event"]
        if "source" in event:  # another library's
            return event
        try:
            text = self._words(name, event)
        except Exception:  # noqa: BLE001 - a field is missing or has another type: show name and fields instead
            text = None
        if text is None:
            return event
        if self._with_fields:
            return {**event, "event": text, "event_name": name}
        kept = {key: event[key] for key in ("timestamp", "level", "exception") if key in event}
        return {**kept, "event": text}


# --- one object a line ------------------------------------------------------------------------------------------------


def _document(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Put the fixed fields first."""
    fixed = {**event, "level": event["level"].upper(), "logger": TAG}
    return {**{name: fixed[name] for name in FIXED if name in fixed}, **fixed}


_ENCODE: Final = json.JSONEncoder(allow_nan=False, default=text_of).encode


def _dump(document: Mapping[str, Any], **_: object) -> str:
    try:
        return _ENCODE(document)
    except (TypeError, ValueError, RecursionError):  # NaN, an odd key or a cycle: write the values as text
        return json.dumps({key: text_of(value) for key, value in document.items()})


# --- a line to read ---------------------------------------------------------------------------------------------------


def _escape(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Make all of an event printable; only the rows of a traceback are still separated by newlines."""
    rows = event.pop("exception", "").splitlines()
    escaped = {escape(name): escape(text_of(value)) for name, value in event.items()}
    return {**escaped, "exception": "\n".join(map(escape, rows))}


class _Console:
    """Makes NeoLight's line: time, level, tag, sentence. Each row of a traceback has time, level and tag too."""

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def __call__(self, _logger: object, _method: str, event: EventDict) -> str:
        level, rows = event.pop("level").upper(), event.pop("exception").splitlines()
        word = f"{_COLORS.get(level, _RED)}{level}{_RESET}" if self._color else level
        head = f"{event.pop('timestamp')} {word}{' ' * (7 - len(level))} [{TAG}] "
        line = f"{head}{event.pop('event')}"
        fields = "".join(f" {_quoted(key)}={_quoted(value)}" for key, value in event.items())
        return line + fields + "".join(f"\n{head}  | {row}" for row in rows)


def _quoted(text: str) -> str:
    return text if _PLAIN_VALUE.fullmatch(text) else '"' + text.replace('"', '\\"') + '"'
