"""A ``.env`` file, read as data: nothing in it is executed or replaced."""

from __future__ import annotations

import codecs
import io
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

_LARGEST_ENV_FILE_BYTES: Final = 1 << 20
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ENV_LINE: Final = re.compile(r"\s*(?:(?:export|set)\s+)?['\"]?(\w+)", re.ASCII)


def printable(text: str) -> str:
    """Return the text as it is if a line can show it, else as a Python literal."""
    return text if text.isprintable() and text == text.strip() else ascii(text)


def read_env_file(path: Path, own: Collection[str], prefix: str) -> tuple[dict[str, str], list[str]]:
    """Return what the file sets, literally, and what is wrong with it; a missing file sets nothing.

    It is UTF-8, or UTF-16 with a byte-order mark; the mark and the line ends may be those of any system.

    Args:
        path: of the file.
        own: variables of ours: a line that names one must not be lost to a quote left open above it.
        prefix: of names that are ours whether known or not.
    """
    name = printable(str(path))
    try:
        if not path.is_symlink() and not path.exists():
            return {}, []
        if not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO would wait for ever
            return {}, [f"{name} is not a file; it takes lines NAME=value, or no such file at all"]
        with path.open("rb") as file:
            content = file.read(_LARGEST_ENV_FILE_BYTES + 1)
        if len(content) > _LARGEST_ENV_FILE_BYTES:
            return {}, [f"{name} is larger than 1 MiB; it takes lines NAME=value"]
        return _parse_env(_decode(content), own, prefix)
    except UnicodeDecodeError:
        return {}, [f"{name} is not UTF-8 text; save it as UTF-8"]
    except OSError as error:
        return {}, [f"{name} cannot be read ({error.strerror}); let this user read it, or remove it"]


def _decode(content: bytes) -> str:
    """Return the text without any byte-order mark: each file of which this one was put together may have had one.

    Raises:
        UnicodeDecodeError: it is neither UTF-8 nor UTF-16 with a mark.
    """
    text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8")
    if "\0" in text[:2]:  # UTF-16 without a mark passes for UTF-8, in which it sets nothing at all
        raise UnicodeDecodeError("utf-8", content, 0, 2, "UTF-16 without a mark")
    return text.replace("\ufeff", "")


def _parse_env(text: str, own: Collection[str], prefix: str) -> tuple[dict[str, str], list[str]]:
    """Parse as python-dotenv does, and find lines of ours that it does not take for one.

    Another program's unclosed quote reaches to the next quote, and what is between is part of its value.
    """
    values: dict[str, str] = {}
    faults: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        lines = re.split("[\\r\\n]+", binding.original.string.strip())
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
            lines = lines[1:]
        faults += [
            f"{match[1]} (.env) is not read: its line, or a quote opened above it, is broken"
            for match in map(_ENV_LINE.match, lines)
            if match and (match[1] in own or match[1].upper().startswith(prefix))
        ]
    return values, faults
