"""Finds the roots of the governors and supervisors that run on this machine. Linux only; elsewhere it finds none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

_PROCESSES: Final = Path("/proc")
_SUPERVISOR: Final = "capital_governor.supervisor"
_ROOT: Final = "NEOLIGHT_ROOT="


def running_roots(processes: Path = _PROCESSES) -> Iterator[Path]:
    """Yield the root of each governor and supervisor that this user may look at.

    Args:
        processes: the folder of the kernel with a folder for each process.
    """
    with suppress(OSError):
        for folder in sorted(path for path in processes.iterdir() if path.name.isdecimal()):
            with suppress(OSError):  # it has ended, or is of another user
                words = _texts(folder / "cmdline")
                if _SUPERVISOR in words:
                    words = []
                elif not _governs(words):
                    continue
                yield _root_of(folder, words)


def _governs(words: Sequence[str]) -> bool:
    """Return whether this is the command line of a governor."""
    for place, word in enumerate(words[:-1]):
        by_name = os.path.basename(word) == "capital-governor"  # noqa: PTH119 - a word, not a path
        if by_name or (word == "capital_governor" and place and words[place - 1] == "-m"):
            return words[place + 1] == "run"
    return False


def _root_of(folder: Path, words: Sequence[str]) -> Path:
    """Return the root of a governor by its command line, else by its environment, else its current folder."""
    given = [word.removeprefix("--root=") for word in words if word.startswith("--root=")]
    given += [after for word, after in pairwise(words) if word == "--root"]
    if not given:
        given = [text.removeprefix(_ROOT) for text in _texts(folder / "environ") if text.startswith(_ROOT)]
    return (folder / "cwd").readlink() / (given[0] if given else "")


def _texts(file: Path) -> list[str]:
    """Return the texts of a file of the kernel that ends each with a null byte."""
    return [os.fsdecode(text) for text in file.read_bytes().split(b"\0") if text]
