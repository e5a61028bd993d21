"""Read a small file without blocking: a FIFO, a device or a huge file cannot hold up the reader."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from capital_governor.adapters.refusals import RemediedError

MAX_BYTES: Final = 16 * 1024 * 1024
"""An allocation file of 10,000 agents takes about a sixth of this."""
_CHUNK_BYTES: Final = 1 << 16
"""How much is read at once. Larger blocks come from glibc's heap once one was freed, and fragment it."""


class NotAFile(RemediedError):  # noqa: N818 - named by what was found, as IsADirectoryError
    """The path is a folder, FIFO, device or loop of symlinks instead of a regular file."""

    remedy = "move it away"


def read_bounded(path: Path, max_bytes: int = MAX_BYTES) -> bytes | None:
    """Return the content of the file at ``path``, None if there is none. Never blocks on a FIFO.

    Raises:
        NotAFile: it is not a regular file.
        OSError: it cannot be read; EFBIG if it is longer than ``max_bytes``.
    """
    content = read_start(path, max_bytes + 1)
    if content is not None and len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"is longer than {max_bytes} bytes", str(path))
    return content


def read_start(path: Path, max_bytes: int) -> bytes | None:
    """Return the first ``max_bytes`` of a file, or all of it if it is shorter."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    content = bytearray()
    try:
        refuse_irregular(os.fstat(fd).st_mode, path)
        while part := os.read(fd, min(max_bytes - len(content), _CHUNK_BYTES)):
            content += part
    finally:
        os.close(fd)
    return bytes(content)


def refuse_irregular(mode: int, path: Path) -> None:
    """Raise ``NotAFile`` unless ``mode``, a file's ``st_mode``, is that of a regular file."""
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFLNK: "a loop of symlinks"}
    kind = kinds.get(stat.S_IFMT(mode), "a device or a socket")
    raise NotAFile(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, f"is {kind}, not a file", str(path))
