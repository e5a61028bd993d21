"""Sets up logging: structlog for the governor's events, and one sink for all lines, without secrets.

Every line is one event. Names of agents and texts of errors are escaped, so that they cannot break or colour a line.
Records of the standard library's logging (asyncio, httpx, warnings) and uncaught exceptions go through the same
processors into the same sink. Lines that cannot be written are counted and otherwise ignored: governing does not depend
on the log.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, TextIO, TypeAlias

from capital_governor.adapters.log_format import Format, Formatter, Words
from capital_governor.adapters.log_output import Sink
from capital_governor.adapters.partial_imports import without
from capital_governor.adapters.printable import text_of

with without("rich"):  # only structlog's console renderer needs it
    import structlog
    from structlog.typing import FilteringBoundLogger

Logger: TypeAlias = FilteringBoundLogger

_NOISY: Final = ("httpx", "httpcore")


class Bridge(logging.Handler):
    """Writes the standard library's log records as lines to the sink."""

    def __init__(self, sink: Sink, formatter: Formatter, level: int) -> None:
        super().__init__(level)
        self._sink = sink
        self._lines = formatter

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; never raises for its arguments."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - logging itself would print the arguments, with any secret, to stderr
            message = text_of(record.msg)
        level = record.levelname.lower()
        self._sink.write(self._lines.line(level, message, source=record.name, exc_info=record.exc_info))


def configure(
    *,
    level: str,
    fmt: Format,
    secrets: Sequence[str],
    words: Words = lambda *_: None,
    stream: TextIO | None = None,
    color: bool | None = None,
    now: Callable[[], float] = time.time,
) -> Sink:
    """Send all logs of this process to one sink. A second call replaces the set-up.

    Args:
        level: DEBUG, INFO, WARNING or ERROR; for other libraries at least WARNING.
        fmt: "console" for lines to read, "json" for one object a line.
        secrets: texts that must not appear.
        words: the sentence of each event.
        stream: where to write; None is ``sys.stderr``.
        color: whether to colour the level; None: on a terminal, unless NO_COLOR is set and not empty.
        now: the clock, in seconds since 1970.
    """
    sink = Sink(secrets, stream)
    number = logging.getLevelNamesMapping()[level]
    formatter = Formatter(
        fmt, color=_colored(stream) if color is None else color, redaction=sink.redaction, words=words, now=now
    )
    sink.lost_line = lambda count, why: formatter.line("warning", "log_lines_lost", count=count, problem=why)
    _configure_structlog(sink, formatter, number)
    root = logging.getLogger()
    for former in [handler for handler in root.handlers if isinstance(handler, Bridge)]:
        root.removeHandler(former)
    root.addHandler(Bridge(sink, formatter, max(number, logging.WARNING)))
    logging.captureWarnings(capture=True)
    for name in _NOISY:  # they log full URLs, and the Bot API's contains the token
        logging.getLogger(name).setLevel(logging.WARNING)
    return sink


def catch_uncaught() -> None:
    """Log uncaught exceptions of all threads, since a raw traceback may contain a secret.

    Errors that the event loop or the garbage collector catches are logged too, here or by the standard library.
    """

    def main_thread(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            get_logger().critical("program_failed", exc_info=error)

    def other_thread(args: threading.ExceptHookArgs) -> None:
        name = "?" if args.thread is None else args.thread.name
        get_logger().critical("thread_failed", thread=name, exc_info=args.exc_value)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        where = f"{args.err_msg or 'Exception ignored in'} {text_of(args.object)}"
        get_logger().error("exception_ignored", where=where, exc_info=args.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = main_thread, other_thread, unraisable


def get_logger() -> Logger:
    """Return the logger: ``log.info("allocations_saved", generation=41)``.

    Before ``configure`` it writes plain lines from INFO on to ``sys.stderr``; afterwards it follows the set-up.
    """
    if not structlog.is_configured():
        sink = Sink()
        _configure_structlog(sink, Formatter("console", color=False, redaction=sink.redaction), logging.INFO)
    logger: Logger = structlog.get_logger()
    return logger


def _configure_structlog(sink: Sink, formatter: Formatter, level: int) -> None:
    structlog.configure(
        processors=formatter.processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,  # a second configure() must apply to existing loggers
    )


def _colored(stream: TextIO | None) -> bool:
    try:
        return (sys.stderr if stream is None else stream).isatty() and not os.environ.get("NO_COLOR")
    except (ValueError, AttributeError):  # closed, or no stderr at all
        return False
