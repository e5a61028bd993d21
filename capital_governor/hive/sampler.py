"""A thread that reads the decisions regularly, so that none is missed between requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Sampler:
    """Calls ``look`` at once, again after as many seconds as it returned, and once more when its block ends.

    Args:
        look: takes the sample; its exceptions are logged and do not end the sampling.
        say: takes a sentence for the log.
        longest_seconds: how long to wait after a look that failed.
    """

    def __init__(self, look: Callable[[], float], say: Callable[[str], object], longest_seconds: float) -> None:
        self._look = look
        self._say = say
        self._longest_seconds = longest_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """End the thread; do not wait for a look that hangs."""
        self._over.set()
        self._thread.join(self._longest_seconds / 30)

    def _run(self) -> None:
        while not self._over.wait(self._looked()):
            pass
        self._looked()

    def _looked(self) -> float:
        try:
            return self._look()
        except Exception as error:  # noqa: BLE001 - it is logged, and the next look may succeed
            self._say(f"looking at the decisions failed: {type(error).__name__}: {error}")
            return self._longest_seconds
