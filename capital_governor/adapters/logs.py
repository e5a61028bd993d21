"""Logs: structlog for our own words, one sink for everybody's, and nothing secret past it.

Every line is one event; whatever an agent's name or an error's text contains cannot break a line, colour it or hide
in it. What the standard library's logging has to say (asyncio, httpx, warnings) goes through the same sink. A log that
cannot be written is counted and otherwise ignored: control must not depend on it.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO
from urllib.parse import quote, quote_plus

from capital_governor.adapters.lean_imports import without
from capital_governor.adapters.line_writer import LineWriter, Output

with without("rich"):  # structlog's console renderer would load it; ours does not
    import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
    from types import TracebackType

    from structlog.typing import FilteringBoundLogger

TAG: Final = "capital_governor"
HIDDEN: Final = "********"

_SHORTEST_SECRET: Final = 4
_BOT_TOKEN: Final = re.compile(r"(?<![0-9])[0-9]{6,}(?::|%3[Aa])[A-Za-z0-9_-]{30,}")
_USERINFO: Final = re.compile(r"://[^\s/?#]*@")
# Unicode's default-ignorable characters that str.isprintable() lets through: they take no room on a screen.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_PLAIN_VALUE: Final = re.compile(r'[^\s"=\\]+')
_COLORS: Final = {"DEBUG": "\x1b[2m", "INFO": "\x1b[32m", "WARNING": "\x1b[33m"}
_RED: Final = "\x1b[31m"
_RESET: Final = "\x1b[0m"
_NOISY: Final = ("httpx", "httpcore")

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Format = Literal["console", "json"]


# --- text that is safe to print -------------------------------------------------------------------------------------


def escape(text: str) -> str:
    r"""Return the text with everything that is not visible escaped: a newline becomes the two characters ``\n``."""
    if text.isprintable() and (text.isascii() or not _INVISIBLE.search(text)):
        return text
    return "".join(
        char if char.isprintable() and not _INVISIBLE.match(char) else char.encode("unicode_escape").decode()
        for char in text
    )


def _text(value: object) -> str:
    """Return what a value says of itself; a value whose own words fail must not fail the caller's log line."""
    try:
        return value if isinstance(value, str) else repr(value)
    except Exception:  # noqa: BLE001 - foreign code
        return f"<unprintable {type(value).__name__}>"


def _field(value: object) -> str:
    text = escape(_text(value))
    if _PLAIN_VALUE.fullmatch(text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


_ENCODE: Final = json.JSONEncoder(allow_nan=False, default=_text).encode


def _dump(document: dict[str, Any]) -> str:
    try:
        return _ENCODE(document)
    except (TypeError, ValueError, RecursionError):  # NaN, an odd key, a circle: said in words instead
        return json.dumps({key: _text(value) for key, value in document.items()})


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _traceback(exc_info: object) -> str:
    """Return a traceback without the values of variables, "" if there is none."""
    if exc_info is True:
        exc_info = sys.exc_info()
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    return "".join(traceback.format_exception(exc_info)).rstrip() if isinstance(exc_info, BaseException) else ""


# --- secrets --------------------------------------------------------------------------------------------------------


def _forms(secret: str) -> Iterator[str]:
    """Yield a text as it looks after being put into a URL, into JSON, into a repr or through the escapes here."""
    yield secret
    for encoded in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield encoded
        yield re.sub("%..", lambda match: match[0].lower(), encoded)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield escape(secret)
    yield secret.replace('"', '\\"')


def _redactor(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Return what finds every secret in every form, also in a form of a form (a repr inside JSON)."""
    encodable = (secret.encode("utf-8", "replace").decode() for secret in secrets)
    forms = {
        outer
        for secret in encodable
        if len(secret) >= _SHORTEST_SECRET
        for inner in _forms(secret)
        for outer in _forms(inner)
    }
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None


# --- the sink -------------------------------------------------------------------------------------------------------


class Sink:
    """Where every line ends up, redacted, in one write.

    A file or terminal is written to below Python's buffers: a line that could not be written is lost rather than kept
    for a later flush, so that a full disk costs no memory and no exit code. Where ``LineWriter`` does the writing, a
    line waits until its reader takes it, and the caller does not.

    Args:
        secrets: texts that must not appear (those shorter than four characters are ignored).
        stream: where to; None is whatever ``sys.stderr`` is at the time.

    Attributes:
        secrets: as given.
        writer: what writes the lines in the background; None: each is written at once.
        tell: makes a line of what the sink itself has to say.
    """

    def __init__(self, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
        self.secrets = tuple(secrets)
        self.writer: LineWriter | None = None
        self.tell: Callable[[str], str] = escape
        self._stream = stream
        self._redactor = _redactor(self.secrets)
        self._output = Output(patient=False)
        self._failures = 0
        self._last_error = ""

    @property
    def failures(self) -> int:
        """How many lines could not be written so far."""
        return self._failures + (0 if self.writer is None else self.writer.failures)

    @property
    def last_error(self) -> str:
        """Why the last of them could not; "" if all could."""
        return self.redact("" if self.writer is None else self.writer.last_error) or self._last_error

    def redact(self, text: str) -> str:
        """Return the text without any secret, anything like a Bot API token, or user and password of a URL."""
        if self._redactor is not None:
            text = self._redactor.sub(HIDDEN, text)
        text = _BOT_TOKEN.sub(HIDDEN, text)
        return _USERINFO.sub(f"://{HIDDEN}@", text) if "@" in text else text

    def write(self, text: str) -> None:
        """Write one event, redacted. Never raises for what the stream does."""
        line = self.redact(text) + "\n"
        if self.writer is not None:
            self.writer.write(line)
            return
        try:
            self._put(sys.stderr if self._stream is None else self._stream, line)
        except (OSError, ValueError, RuntimeError, AttributeError) as error:
            # Full disk, closed pipe or file, re-entry from a signal handler, or no stderr at all.
            self._failures += 1
            self._last_error = self.redact(str(error) or type(error).__name__)

    debug = info = warning = warn = error = critical = fatal = exception = msg = log = write

    def flush(self) -> None:
        """Wait a moment until what was said is written: for the end of the process."""
        if self.writer is not None:
            self.writer.flush()

    def write_in_background(self, former: LineWriter | None = None) -> None:
        """Have lines written by a thread from now on, if there is a file or terminal at all.

        Args:
            former: goes on instead of a new one, with the lines that wait in it.
        """
        stream = sys.stderr if self._stream is None else self._stream
        if former is not None:
            former.confess = self._confess
            self.writer = former
        elif stream is not None:
            with contextlib.suppress(OSError, ValueError):  # a stream in memory, or a closed one
                self.writer = LineWriter(stream.fileno(), self._confess, encoding=stream.encoding or "utf-8")

    def _confess(self, count: int, why: str) -> str:
        lines = "1 log line was" if count == 1 else f"{count} log lines were"
        return self.redact(self.tell(f"{lines} lost: {why}")) + "\n"

    def _put(self, stream: TextIO, line: str) -> None:
        try:
            descriptor = stream.fileno()
        except (io.UnsupportedOperation, AttributeError):  # a stream in memory
            stream.write(line)
            stream.flush()
            return
        self._output.put(descriptor, line.encode(stream.encoding or "utf-8", "backslashreplace"))


# --- what a line looks like -----------------------------------------------------------------------------------------


class Renderer:
    """Event to line, for structlog and for the standard library alike; ``now`` gives seconds since 1970."""

    def __init__(self, fmt: Format, *, color: bool, redact: Callable[[str], str], now: Callable[[], float]) -> None:
        self._line = self._json if fmt == "json" else self._console
        self._color = color
        self._redact = redact
        self._now = now
        self._second = (-1, "")

    def __call__(self, _logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        """Return the line (for a traceback in the console: the lines) of one event, without the last newline."""
        trace = _traceback(event.pop("exc_info", None))
        return self._line(method.upper(), _text(event.pop("event", "")), event, trace)

    def _stamp(self) -> str:
        second = int(self._now())
        known, text = self._second
        if second != known:
            text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
            self._second = (second, text)
        return text

    def _console(self, level: str, event: str, fields: MutableMapping[str, Any], trace: str) -> str:
        padding = " " * (7 - len(level))
        word = f"{_COLORS.get(level, _RED)}{level}{_RESET}" if self._color else level
        head = f"{self._stamp()} [{TAG}] {word}{padding} "
        line = head + escape(event)
        if fields:
            line += "".join(f" {_field(key)}={_field(value)}" for key, value in fields.items())
        if trace:  # redacted before it is cut into lines, each of which carries the tag that operators search for
            line += "".join(f"\n{head}  | {escape(row)}" for row in self._redact(trace).splitlines())
        return line

    def _json(self, level: str, event: str, fields: MutableMapping[str, Any], trace: str) -> str:
        document: dict[str, Any] = {"timestamp": self._stamp(), "level": level, "event": event, "logger": TAG}
        if trace:
            document["exception"] = trace
        for key, value in fields.items():
            document[f"{key}_" if key in document else key] = value
        line = _dump(document)
        redacted = self._redact(line)
        if redacted == line or _is_json(redacted):
            return redacted
        # What was hidden took half of an escape sequence with it: hide first, and leave JSON nothing to escape.
        return _dump({escape(key): escape(self._redact(_text(value))) for key, value in document.items()})


class Bridge(logging.Handler):
    """The standard library's log records, rendered and written as our own; never to its own stderr."""

    def __init__(self, sink: Sink, renderer: Renderer, level: int) -> None:
        super().__init__(level)
        self._sink = sink
        self._renderer = renderer

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, whatever its arguments are."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - foreign arguments; logging would print them, with any secret, to stderr
            message = _text(record.msg)
        event: dict[str, Any] = {"event": message, "source": record.name, "exc_info": record.exc_info}
        self._sink.write(self._renderer(None, record.levelname, event))


# --- set-up ---------------------------------------------------------------------------------------------------------


def configure(
    *,
    level: str,
    fmt: Format,
    secrets: Sequence[str],
    stream: TextIO | None = None,
    color: bool | None = None,
    now: Callable[[], float] = time.time,
) -> Sink:
    """Send all logs of this process to one sink; may be called again, and then replaces the former set-up.

    Args:
        level: DEBUG, INFO, WARNING or ERROR; other libraries are heard from WARNING on.
        fmt: "console" for lines to read, "json" for one object a line.
        secrets: texts that must not appear.
        stream: where to; None is ``sys.stderr``.
        color: whether to colour the level; None: on a terminal, unless NO_COLOR is set and not empty.
        now: the clock, in seconds since 1970.
    """
    sink = Sink(secrets, stream)
    number = logging.getLevelNamesMapping()[level]
    renderer = Renderer(fmt, color=_colored(stream) if color is None else color, redact=sink.redact, now=now)
    sink.tell = lambda text: renderer(None, "warning", {"event": text})
    _configure_structlog(sink, renderer, number)
    root = logging.getLogger()
    for former in [handler for handler in root.handlers if isinstance(handler, Bridge)]:
        root.removeHandler(former)
    root.addHandler(Bridge(sink, renderer, max(number, logging.WARNING)))
    logging.captureWarnings(capture=True)
    for name in _NOISY:  # they log full URLs, and the Bot API's contains the token
        logging.getLogger(name).setLevel(logging.WARNING)
    return sink


def catch_uncaught() -> None:
    """Send what nothing catches, in any thread, through ``configure``'s sink: a raw traceback may repeat a secret.

    What the event loop or the garbage collector catches comes by the standard library's logging, or here too.
    """

    def main_thread(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            get_logger().critical("Unexpected error, ending", exc_info=error)

    def other_thread(args: threading.ExceptHookArgs) -> None:
        name = "?" if args.thread is None else args.thread.name
        get_logger().critical(f"Unexpected error, ending the thread {name}", exc_info=args.exc_value)

    def nobody(args: sys.UnraisableHookArgs) -> None:
        get_logger().error(f"{args.err_msg or 'Exception ignored in'} {_text(args.object)}", exc_info=args.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = main_thread, other_thread, nobody


def get_logger() -> FilteringBoundLogger:
    """Return the logger: ``log.info("Allocations saved: ...", generation=41)``.

    Before ``configure`` it writes plain lines from INFO on to ``sys.stderr``; afterwards it follows the set-up.
    """
    if not structlog.is_configured():
        sink = Sink()
        _configure_structlog(sink, Renderer("console", color=False, redact=sink.redact, now=time.time), logging.INFO)
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def _configure_structlog(sink: Sink, renderer: Renderer, level: int) -> None:
    structlog.configure(
        processors=[renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,  # a second configure() must reach loggers that were made before it
    )


def _colored(stream: TextIO | None) -> bool:
    try:
        return (sys.stderr if stream is None else stream).isatty() and not os.environ.get("NO_COLOR")
    except (ValueError, AttributeError):  # closed, or no stderr at all
        return False
