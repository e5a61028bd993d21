"""Hides secrets in texts and log events: declared ones, and texts that look like one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

from capital_governor.adapters.printable import escape, text_of

HIDDEN: Final = "********"

FIXED: Final = ("timestamp", "level", "event", "logger", "exception", "event_name")
"""The names of the fields that every log line may have. They never need to be hidden."""

_SHORTEST_SECRET: Final = 4
_BOT_TOKEN: Final = re.compile(r"(?<![0-9])[0-9]{6,}(?::|%3[Aa])[A-Za-z0-9_-]{30,}")
_USERINFO: Final = re.compile(r"://[^\s/?#]*@")


class Redaction:
    """Hides secrets; also a structlog processor.

    Args:
        secrets: texts that must not appear (those shorter than four characters are ignored).
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = tuple(secrets)
        self._pattern = _pattern(self.secrets)

    def hide(self, text: str) -> str:
        """Return the text without any secret, anything like a Bot API token, or user and password of a URL."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        text = _BOT_TOKEN.sub(HIDDEN, text)
        return _USERINFO.sub(f"://{HIDDEN}@", text) if "@" in text else text

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Hide secrets in the names and values of an event, nested ones too."""
        return {name if name in FIXED else self.hide(name): self._hidden(value) for name, value in event.items()}

    def _hidden(self, value: object) -> object:
        try:
            return self._inside(value)
        except RecursionError:  # nested without end
            return self.hide(text_of(value))

    def _inside(self, value: object) -> object:
        """Return a value without secrets: itself, a copy of the container, or its text with secrets hidden."""
        if isinstance(value, str):
            return self.hide(value)
        if type(value) is dict:
            return {self.hide(key) if isinstance(key, str) else key: self._inside(each) for key, each in value.items()}
        if type(value) is list:
            return [self._inside(each) for each in value]
        if type(value) is tuple:
            return tuple(self._inside(each) for each in value)
        text = text_of(value)
        hidden = self.hide(text)
        return value if hidden == text else hidden


def _forms(secret: str) -> Iterator[str]:
    """Yield the forms of a text in a URL, in JSON, in a repr and in an escaped log line."""
    yield secret
    for encoded in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield encoded
        yield re.sub("%..", lambda match: match[0].lower(), encoded)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield escape(secret)
    yield secret.replace('"', '\\"')


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern for every secret in every form, nested forms too (a repr inside JSON)."""
    encodable = (secret.encode("utf-8", "replace").decode() for secret in secrets)
    forms = {
        outer
        for secret in encodable
        if len(secret) >= _SHORTEST_SECRET
        for inner in _forms(secret)
        for outer in _forms(inner)
    }
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None
