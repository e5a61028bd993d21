"""Reads a ``.env`` file as data: nothing in it is executed or expanded."""

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
    """Return the text as it is if it is printable, else as a Python literal."""
    return text if text.isprintable() and text == text.strip() else ascii(text)


def read_env_file(path: Path, own: Collection[str], prefix: str) -> tuple[dict[str, str], list[str]]:
    """Return the variables that the file sets, literally, and what is wrong with it; a missing file sets none.

    The file is UTF-8, or UTF-16 with a byte-order mark. Line ends may be those of any system.

    Args:
        path: of the file.
        own: the governor's variables: a line with one of them must not be lost to an open quote above it.
        prefix: of names that are the governor's, known or not.
    """
    name = printable(str(path))
    try:
        if not path.is_symlink() and not path.exists():
            return {}, []
        if not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO would block
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
    """Return the text without byte-order marks, of which there may be several if files were joined.

    Raises:
        UnicodeDecodeError: it is neither UTF-8 nor UTF-16 with a byte-order mark.
    """
    text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8")
    if "\0" in text[:2]:  # UTF-16 without a mark is valid UTF-8, but sets nothing
        raise UnicodeDecodeError("utf-8", content, 0, 2, "UTF-16 without a mark")
    return text.replace("\ufeff", "")


def _parse_env(text: str, own: Collection[str], prefix: str) -> tuple[dict[str, str], list[str]]:
    """Parse with python-dotenv, and report lines with the governor's variables that it does not read as such.

    An open quote of another program's variable ends at the next quote, and the lines between become part of its value.
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
