"""The thread for all work on files and SQLite, one call at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

_NAME: Final = "disk"

T = TypeVar("T")


class Disk:
    """One thread for files and SQLite. Name look-ups have their own threads, so neither waits for the other."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, _NAME)
        self._busy: asyncio.Future[Any] | None = None

    async def __call__(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the thread. It is finished even if the caller is cancelled: it may be writing."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        self._busy = future
        return await asyncio.shield(future)

    async def quiet(self) -> None:
        """Wait for all work that has begun."""
        if self._busy is not None:
            await asyncio.wait([self._busy])

    def close(self) -> None:
        """Start no more work; do not wait for a call that hangs."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def at_work() -> bool:
    """Whether the thread of any ``Disk`` still runs; after ``close`` it ends with its last call."""
    return any(thread.name.startswith(_NAME) for thread in threading.enumerate())
