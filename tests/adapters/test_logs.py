"""The standard library's logs and what nothing catches go where the governor's own lines go."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
import warnings

import pytest

from capital_governor.adapters import logs
from tests.rigs.log_in_memory import HEAD, TOKEN, start
from tests.rigs.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("logging_as_before")


def test_standard_library_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of other libraries from WARNING on come in our form, with their source; those below do not."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own raise what formatting a record raises
    stream, _ = start(level="DEBUG")
    logging.getLogger("some.library").warning("a\n%s", "b")
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    logging.getLogger("some.library").info("not heard")
    for name in ("httpx", "httpcore", "httpcore.http11"):
        logging.getLogger(name).info("HTTP Request: POST %s", TOKEN)
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
    logging.getLogger("broken").error("%d", "CANARY")
    assert stream.getvalue().splitlines() == [
        HEAD + "WARNING [capital_governor] a\\nb source=some.library",
        HEAD + "ERROR   [capital_governor] %d source=broken",
    ]


def test_warnings_come_along() -> None:
    """A Python warning is a line like any other."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stream, _ = start(secrets=("CANARY",))
        warnings.warn("CANARY is old", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith(HEAD + "WARNING [capital_governor] ")
    assert "UserWarning: ******** is old" in line
    assert line.endswith(" source=py.warnings")


def test_a_lost_task_exception_is_redacted(capfd: pytest.CaptureFixture[str]) -> None:
    """What asyncio says of an exception nobody took goes through the sink, not to stderr."""
    stream, _ = start(secrets=(TOKEN,))

    async def run() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "lost", "exception": RuntimeError(TOKEN)})
        await asyncio.sleep(0)

    asyncio.run(run())
    assert HEAD + "ERROR   [capital_governor] lost source=asyncio" in stream.getvalue()
    assert HEAD + "ERROR   [capital_governor]   | RuntimeError: ********" in stream.getvalue()
    assert capfd.readouterr().err == ""


def test_configure_again_replaces() -> None:
    """A second set-up takes the place of the first, for loggers made before it too, and nothing piles up."""
    log = logs.get_logger()
    first, _ = start()
    for _ in range(5):
        second, _ = start("json", level="ERROR")
    log.error("own")
    log.warning("below")
    logging.getLogger("x").error("other")
    logging.getLogger("x").warning("below")
    assert first.getvalue() == ""
    assert [json.loads(line)["event"] for line in second.getvalue().splitlines()] == ["own", "other"]
    assert sum(isinstance(handler, logs.Bridge) for handler in logging.getLogger().handlers) == 1


def test_before_configure(capsys: pytest.CaptureFixture[str]) -> None:
    """A logger used before the set-up writes safe lines to stderr, from INFO on, and nothing to stdout."""
    log = logs.get_logger()
    log.info("early\n%s", TOKEN)
    log.debug("too early")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"\S+Z INFO    \[capital_governor\] early\\n\*{8}\n", captured.err)


UNCAUGHT = """
import asyncio, os, sys, threading, warnings
from capital_governor.adapters import logs
from capital_governor.wording.log_events import log_text
logs.configure(level="INFO", fmt=sys.argv[1], secrets=("CANARY-secret",), words=log_text)
logs.catch_uncaught()
def fail(*_):
    raise ValueError("CANARY-secret\\nhttps://me:CANARY-password@host/ 123456789:CANARY" + "x" * 30)
class Doomed:
    def __del__(self):
        fail()
async def main():
    loop = asyncio.get_running_loop()
    loop.call_soon(fail)
    task = loop.create_task(asyncio.to_thread(fail))
    await asyncio.wait([task])
    del task
thread = threading.Thread(target=fail, name="worker")
thread.start()
thread.join()
doomed = Doomed()
del doomed
asyncio.run(main())
fail()
"""


@pytest.mark.parametrize("fmt", ["console", "json"])
def test_what_nothing_catches_is_logged_without_secrets(fmt: str) -> None:
    """In the main thread, another one, a destructor, a callback and a task: tagged, redacted tracebacks, and exit 1."""
    command = [sys.executable, "-c", UNCAUGHT, fmt]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.returncode == 1
    assert "CANARY-" not in done.stderr
    assert done.stderr.count("Traceback (most recent call last)") >= 5
    lines = done.stderr.splitlines()
    assert all("[capital_governor]" in line if fmt == "console" else json.loads(line)["level"] for line in lines)
    for said in (
        "ending the thread worker",
        "Doomed",
        "Exception in callback fail()",
        "Task exception was never retrieved",
        "Unexpected error, ending",
    ):
        assert said in done.stderr, said


def test_light_import() -> None:
    """The logs load neither rich nor anything else that only a terminal program needs."""
    code = "import sys, capital_governor.adapters.logs; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["rich", "typer", "click", "telegram", "uvicorn", "starlette", "numpy", "httpx", "pydantic"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
