"""Name look-ups, each on its own thread, so that one that hangs delays neither other names nor the end.

asyncio uses a few threads for all look-ups and cannot cancel one that hangs in the C library. When all of its threads
hang, no name can be looked up. Here a name that is being looked up is not looked up a second time, so there is at most
one thread per name, and none keeps the process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any


class LookupLoop(asyncio.SelectorEventLoop):
    """An event loop whose ``getaddrinfo`` has a daemon thread for each name that is being looked up."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[tuple[object, ...], asyncio.Future[Any]] = {}

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the name that the event loop's interface gives it
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Look up a name as ``socket.getaddrinfo`` does; callers with the same arguments share one look-up."""
        question = (host, port, family, type, proto, flags)
        found = self._lookups.get(question)
        if found is None:
            found = self.create_future()
            thread = threading.Thread(target=self._look_up, args=(question, found), name="lookup", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(f"the name cannot be looked up: {error}") from error
            # Only now that the thread runs: later callers wait for it.
            self._lookups[question] = found
            found.add_done_callback(lambda done: self._finish(question, done))
        # The deadline of one caller must not cancel the look-up for the others.
        return list(await asyncio.shield(found))

    def _look_up(self, question: tuple[Any, ...], found: asyncio.Future[Any]) -> None:
        try:
            addresses = socket.getaddrinfo(*question)
        except Exception as error:  # noqa: BLE001 - it is raised in the waiting caller
            outcome, answer = found.set_exception, error
        else:
            outcome, answer = found.set_result, addresses  # type: ignore[assignment]
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.call_soon_threadsafe(outcome, answer)

    def _finish(self, question: tuple[object, ...], done: asyncio.Future[Any]) -> None:
        del self._lookups[question]
        if not done.cancelled():
            done.exception()  # marks it as retrieved, so that asyncio does not report it if no caller waits
