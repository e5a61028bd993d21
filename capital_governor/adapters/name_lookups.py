"""Name look-ups on threads of their own, so that one that hangs holds up neither another name nor the end.

asyncio shares a handful of threads between all look-ups, and cannot give up one that hangs in the C library: each costs
a thread, and when all are taken nothing is looked up any more. Here a name that is being looked up is not asked for a
second time, so there are as many threads as names, and none keeps the process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any


class LookupLoop(asyncio.SelectorEventLoop):
    """An event loop whose ``getaddrinfo`` has a daemon thread for each name that is under way."""

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
        """Look a name up as ``socket.getaddrinfo`` does, and share what is under way for the same question."""
        question = (host, port, family, type, proto, flags)
        found = self._lookups.get(question)
        if found is None:
            found = self.create_future()
            thread = threading.Thread(target=self._look_up, args=(question, found), name="lookup", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(f"the name cannot be looked up: {error}") from error
            # Only now: what no thread looks up would be waited for by all that ask later.
            self._lookups[question] = found
            found.add_done_callback(lambda done: self._settle(question, done))
        # One caller's deadline must not take the answer from the others.
        return list(await asyncio.shield(found))

    def _look_up(self, question: tuple[Any, ...], found: asyncio.Future[Any]) -> None:
        try:
            addresses = socket.getaddrinfo(*question)
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
            outcome, answer = found.set_exception, error
        else:
            outcome, answer = found.set_result, addresses  # type: ignore[assignment]
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.call_soon_threadsafe(outcome, answer)

    def _settle(self, question: tuple[object, ...], done: asyncio.Future[Any]) -> None:
        del self._lookups[question]
        if not done.cancelled():
            done.exception()  # marks it as retrieved: asyncio must not report it when no caller waits for the answer
