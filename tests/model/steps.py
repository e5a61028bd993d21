"""The steps of a cycle that change something: each can be looked at, and a process can die between any two of them.

A step is named "before OPERATION" or "after OPERATION"; the operations are those on the two allocation files and the
status file, the looks for STOP, and the writes of the journal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from capital_governor.adapters import atomic_replacement, durability, interlocks, permissions
from capital_governor.journal.sqlite.sqlite_driver import IN_MEMORY
from capital_governor.journal.store import Store

Step = Callable[[str], None]


class Killed(BaseException):
    """The process is gone: nothing of it, no handler and no ``finally``, has an effect any more."""


class _Os:
    """The module ``os`` as what writes files sees it, its changing calls made steps."""

    def __init__(self, stepped: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
        self.write = stepped("write", os.write)
        self.fsync = stepped("fsync", os.fsync)
        self.fchmod = stepped("fchmod", os.fchmod)
        self._create = stepped("create", os.open)

    def open(self, path: Path, flags: int, *mode: int) -> int:
        opened: int = (self._create if flags & os.O_CREAT else os.open)(path, flags, *mode)
        return opened

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


@contextmanager
def every_step(step: Step) -> Iterator[None]:
    """Call ``step`` with the name of each step of what the block does; once it raises Killed, nothing more is done."""
    dead = False

    def at(name: str) -> None:
        nonlocal dead
        if dead:
            raise Killed
        try:
            step(name)
        except Killed:
            dead = True
            raise

    def stepped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            at(f"before {name}")
            result = real(*arguments, **more)
            at(f"after {name}")
            return result

        return call

    def durable(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """The same for a store's method, where the store is not the one in memory."""
        watched = stepped(name, real)

        def call(store: Store, *arguments: Any, **more: Any) -> Any:
            return (real if store._db.place == IN_MEMORY else watched)(store, *arguments, **more)

        return call

    real_replace, real_unlink = Path.replace, Path.unlink

    def rename(source: Path, target: Path) -> Path:
        at(f"before rename {target.name}")
        renamed = real_replace(source, target)
        at(f"after rename {target.name}")
        return renamed

    with (
        patch.object(atomic_replacement, "os", _Os(stepped)),
        patch.object(permissions, "os", _Os(stepped)),
        patch.object(durability, "os", _Os(stepped)),
        patch.object(Path, "replace", rename),
        patch.object(Path, "unlink", stepped("unlink", real_unlink)),
        patch.object(interlocks, "stop_present", stepped("look for STOP", interlocks.stop_present)),
        patch.object(Store, "_insert", durable("insert", Store._insert)),
        patch.object(Store, "record", durable("commit", Store.record)),
        patch.object(Store, "reached", durable("mark", Store.reached)),
    ):
        yield
