"""Reads stored values without pydantic, whose import takes longer than a whole command that only looks.

For commands that show what the governor has stored, and store nothing. What the governor goes on from is read by
``codec``, which checks every value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Final, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

from capital_governor.journal.protocol import JournalCorruptError

T = TypeVar("T")
_Reader: TypeAlias = Callable[..., Any]
_PLAIN: Final = frozenset({bool, float, int, str, type(None)})


def read_quickly(kind: type[T], blob: bytes) -> T:
    """Return the value that ``codec.encode`` turned into ``blob``. Raises JournalCorruptError."""
    try:
        return cast("T", _reader(cast("Hashable", kind))(json.loads(blob)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalCorruptError(f"a stored {kind.__name__} cannot be read: {error}") from None


@cache
def _reader(kind: Any) -> _Reader:  # noqa: ANN401 - any annotation
    if get_origin(kind) is not None:
        return _of_several(get_origin(kind), get_args(kind))
    if kind in _PLAIN:
        return lambda found: found
    make: _Reader = kind
    if issubclass(kind, Enum):
        return make
    hints = get_type_hints(kind)
    readers = {name: _reader(hint) for name, hint in hints.items()}
    if is_dataclass(kind):
        return lambda found: make(**{name: readers[name](part) for name, part in found.items()})
    in_order = tuple(readers.values())
    return lambda found: make(*[read(part) for read, part in zip(in_order, found, strict=False)])


def _of_several(origin: Any, arguments: tuple[Any, ...]) -> _Reader:  # noqa: ANN401 - as above
    if origin is tuple:
        each = _reader(arguments[0])
        return lambda found: tuple([each(part) for part in found])
    if issubclass(origin, Mapping):
        value = _reader(arguments[1])
        return lambda found: {name: value(part) for name, part in found.items()}
    return _of_union([each for each in arguments if each is not type(None)])


def _of_union(kinds: list[Any]) -> _Reader:
    if len(kinds) == 1:
        only = _reader(kinds[0])
        return lambda found: None if found is None else only(found)
    fields = {kind: set(get_type_hints(kind)) for kind in kinds}

    def read(found: Mapping[str, Any]) -> Any:  # noqa: ANN401 - one of the kinds
        return _reader(next(kind for kind in kinds if found.keys() <= fields[kind]))(found)

    return read
