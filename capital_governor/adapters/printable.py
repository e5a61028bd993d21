r"""Text that is safe to print in one line: a newline becomes the two characters ``\n``, a colour code its escape."""

from __future__ import annotations

import re
from typing import Final

# Unicode's default-ignorable characters that str.isprintable() accepts: they are invisible.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def escape(text: str) -> str:
    """Return the text with everything invisible escaped as in Python source."""
    if text.isprintable() and (text.isascii() or not _INVISIBLE.search(text)):
        return text
    return "".join(
        char if char.isprintable() and not _INVISIBLE.match(char) else char.encode("unicode_escape").decode()
        for char in text
    )


def text_of(value: object) -> str:
    """Return a value as text; a ``repr`` that fails does not raise."""
    try:
        return value if isinstance(value, str) else repr(value)
    except Exception:  # noqa: BLE001 - code of another library
        return f"<unprintable {type(value).__name__}>"
