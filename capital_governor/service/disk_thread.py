"""The thread on which everything that touches files or SQLite is done, one thing at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

_NAME: Final = "disk"

T = TypeVar("T")


class Disk:
    """The one thread that owns files and SQLite: name look-ups have others, so neither waits for the other."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, _NAME)
        self._busy: asyncio.Future[Any] | None = None

    async def __call__(self, work: Callable[[], T]) -> T:
        """Run on the disk's thread. Cancelling the caller leaves the work to finish: it may be half-way on disk."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        self._busy = future
        return await asyncio.shield(future)

    async def quiet(self) -> None:
        """Wait for what was begun last, and with it for all before."""
        if self._busy is not None:
            await asyncio.wait([self._busy])

    def close(self) -> None:
        """Begin nothing any more; what hangs is left to hang."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def at_work() -> bool:
    """Whether a thread of any ``Disk`` is there: one that was closed is gone when its last work is done."""
    return any(thread.name.startswith(_NAME) for thread in threading.enumerate())
