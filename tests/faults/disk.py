"""A recording file layer: what a power loss may leave of a publication, state by state.

While ``Recorder.recording()`` lasts, the operations that change the files of a folder are recorded as they happen for
real. ``crashes()`` then enumerates what a disk may hold after a power loss: every prefix of the operations, with every
subset of those that nothing has made last. The disk is the worst that POSIX allows:

- the content of a file lasts from its fsync on, its name from an fsync of its folder on, neither through the other;
- of what is not synced, any part may be there and any other may not, in pieces of ``PIECE_BYTES`` within one write;
- a piece that is missing before one that is there reads as zeros.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from unittest import mock

PIECE_BYTES: Final = 256
MOST_UNSYNCED: Final = 12
"""More operations than these without a sync are too many subsets."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One change: ``file`` numbers files in the order in which they were met, ``lasting`` says what makes it last."""

    kind: Literal["content", "truncate", "name", "unname", "sync file", "sync folder"]
    file: int = 0
    at: int = 0
    data: bytes = b""
    name: str = ""
    gone: str = ""

    @property
    def is_sync(self) -> bool:
        return self.kind in ("sync file", "sync folder")

    def made_to_last_by(self, sync: Operation) -> bool:
        """Whether an earlier operation is on the disk after this sync."""
        if self.kind in ("content", "truncate"):
            return sync.kind == "sync file" and sync.file == self.file
        return sync.kind == "sync folder"


@dataclass(frozen=True, slots=True)
class Crash:
    """What a disk may hold: contents by file name, after the first ``prefix`` operations were begun."""

    prefix: int
    files: Mapping[str, bytes]


@dataclass(slots=True)
class Recorder:
    """Records what happens to the files directly in ``folder``, beginning with what is there."""

    folder: Path
    operations: list[Operation] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    _begun: dict[str, int] = field(default_factory=dict)
    _contents: dict[int, bytes] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _open: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, path in enumerate(sorted(self.folder.iterdir()), start=1):
            self._begun[path.name] = number
            self._contents[number] = path.read_bytes()
        self._names = dict(self._begun)

    def mark(self, name: str) -> None:
        """Remember that something was finished here: all operations so far came before it."""
        self.marks[name] = len(self.operations)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what this process does through ``os``. Takes no part in what SQLite does."""
        spies: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
            "open": self._spy_open,
            "close": self._spy_close,
            "write": self._spy_write,
            "fsync": self._spy_fsync,
            "replace": self._spy_rename,
            "rename": self._spy_rename,
            "unlink": self._spy_unlink,
        }
        with ExitStack() as stack:
            for name, spy in spies.items():
                stack.enter_context(mock.patch.object(os, name, spy(getattr(os, name))))
            yield

    def crashes(self) -> Iterator[Crash]:
        """Yield every state, the same content now and then from different histories."""
        for prefix in range(len(self.operations) + 1):
            begun = self.operations[:prefix]
            unsynced = [
                index
                for index, operation in enumerate(begun)
                if not operation.is_sync
                and not any(operation.made_to_last_by(later) for later in begun[index + 1 :] if later.is_sync)
            ]
            assert len(unsynced) <= MOST_UNSYNCED, f"2 ** {len(unsynced)} subsets"
            for size in range(len(unsynced) + 1):
                for lost in itertools.combinations(unsynced, size):
                    yield Crash(prefix, self._left([each for n, each in enumerate(begun) if n not in lost]))

    def _left(self, happened: list[Operation]) -> dict[str, bytes]:
        contents, names = dict(self._contents), dict(self._begun)
        for each in happened:
            if each.kind == "content":
                old = contents.get(each.file, b"").ljust(each.at, b"\0")
                contents[each.file] = old[: each.at] + each.data + old[each.at + len(each.data) :]
            elif each.kind == "truncate":
                contents[each.file] = b""
            elif each.kind == "name":
                names[each.name] = each.file
                names.pop(each.gone, None)
            elif each.kind == "unname":
                names.pop(each.gone, None)
        return {name: contents.get(number, b"") for name, number in names.items()}

    # --- what the governor calls ---

    def _name(self, path: str | Path) -> str:
        """Return the name of a file in the folder, "" for a file anywhere else."""
        asked = Path(path)
        return asked.name if asked.parent == self.folder else ""

    def _spy_open(self, real: Callable[..., int]) -> Callable[..., int]:
        def spy(path: str | Path, flags: int, *more: Any, **keywords: Any) -> int:
            fd = real(path, flags, *more, **keywords)
            name = self._name(path)
            if name and flags & (os.O_WRONLY | os.O_RDWR):
                if name not in self._names:
                    self._names[name] = len(self._contents) + len(self.operations) + 1
                    self.operations.append(Operation("name", self._names[name], name=name))
                self._open[fd] = self._names[name]
                if flags & os.O_TRUNC:
                    self.operations.append(Operation("truncate", self._names[name]))
            return fd

        return spy

    def _spy_close(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def spy(fd: int) -> None:
            self._open.pop(fd, None)
            real(fd)

        return spy

    def _spy_write(self, real: Callable[..., int]) -> Callable[..., int]:
        def spy(fd: int, data: bytes | memoryview) -> int:
            at = os.lseek(fd, 0, os.SEEK_CUR) if fd in self._open else 0
            written = real(fd, data)
            if fd in self._open:
                for start in range(0, written, PIECE_BYTES):
                    piece = bytes(data[start : min(start + PIECE_BYTES, written)])
                    self.operations.append(Operation("content", self._open[fd], at=at + start, data=piece))
            return written

        return spy

    def _spy_fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def spy(fd: int) -> None:
            real(fd)
            if fd in self._open:
                self.operations.append(Operation("sync file", self._open[fd]))
            elif stat.S_ISDIR(os.fstat(fd).st_mode) and os.path.samestat(os.fstat(fd), self.folder.stat()):
                self.operations.append(Operation("sync folder"))

        return spy

    def _spy_rename(self, real: Callable[..., None]) -> Callable[..., None]:
        def spy(source: str | Path, target: str | Path) -> None:
            real(source, target)
            old, new = self._name(source), self._name(target)
            if old and new:
                self._names[new] = self._names.pop(old)
                self.operations.append(Operation("name", self._names[new], name=new, gone=old))

        return spy

    def _spy_unlink(self, real: Callable[..., None]) -> Callable[..., None]:
        def spy(path: str | Path, **keywords: Any) -> None:
            real(path, **keywords)
            name = self._name(path)
            if name:
                self.operations.append(Operation("unname", self._names.pop(name), gone=name))

        return spy
