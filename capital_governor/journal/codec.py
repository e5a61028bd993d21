"""Stored values as JSON: equal values give equal bytes, and what is read is validated strictly."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from capital_governor import __version__
from capital_governor.core.model import Inputs, Publication, Rules, State
from capital_governor.core.trace import Decision, Trace
from capital_governor.journal.protocol import JournalCorruptError, written_by_newer

if TYPE_CHECKING:
    from pydantic import ConfigDict, TypeAdapter

Storable: TypeAlias = Inputs | State | Rules | Publication | Trace | Decision
T = TypeVar("T", bound=Storable)

ZLIB_LEVEL: Final = 1  # level 6 saves a tenth of the bytes and takes three times as long
_CONFIG: Final[ConfigDict] = {
    "strict": True,
    "extra": "forbid",  # an unknown field would be lost when the state is written again
    "ser_json_inf_nan": "constants",  # else infinity would become null, which may mean "unknown"
}
_FIELD: Final = frozenset({"unexpected_keyword_argument", "unexpected_positional_argument"})
_VALUE: Final = frozenset({"enum"})
"""Pydantic's error types for an unknown field and for an unknown value of an enumeration."""
_adapters: dict[type[Any], TypeAdapter[tuple[Any]]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[tuple[Any]]:
    """Return the adapter of ``kind``, built on first use (a few milliseconds each).

    It validates a 1-tuple, since pydantic takes a configuration for a container, but not for a bare dataclass.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415 - commands for orders do not need it

    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(cast("type[tuple[Any]]", GenericAlias(tuple, (kind,))), config=_CONFIG)
    return _adapters[kind]


def encode(value: Storable) -> bytes:
    """Return ``value`` as compact JSON, fields in their order: equal bytes for the same object.

    Raises:
        ValueError: the value does not match its type, or has text that UTF-8 cannot encode (a lone surrogate). This is
            an error of the caller, not of the storage.
    """
    # Older schemas have no `withheld`: where it is empty, a publication keeps the bytes and digest it had there.
    left_out = {0: {"withheld"}} if isinstance(value, Publication) and not value.withheld else None
    return _adapter(type(value)).dump_json((value,), exclude=left_out, warnings="error")[1:-1]


def decode(kind: type[T], blob: bytes, version: str = "") -> T:
    """Return the value that ``encode`` turned into ``blob``.

    Args:
        kind: the type.
        blob: what was stored.
        version: of the program that stored it, for the message; empty if unknown.

    Raises:
        JournalRefusedError: it has a field that this version does not know; or such a value of an enumeration, if
            another version stored it.
        JournalCorruptError: it is not JSON or does not match the type.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    try:
        (value,) = _adapter(kind).validate_json(b"[" + blob + b"]")
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False, include_context=False)
        if unknown := _unknown(errors, _FIELD if version in {"", __version__} else _FIELD | _VALUE):
            raise written_by_newer(f"a {kind.__name__}", f"it does not know {', '.join(unknown)}", version) from None
        where = ".".join(str(part) for part in errors[0]["loc"][1:]) or "the whole"
        raise JournalCorruptError(
            f"a stored {kind.__name__} cannot be read: {where} is not as the governor writes it"
        ) from None
    return cast("T", value)


def _unknown(errors: Iterable[Any], kinds: Collection[str]) -> list[str]:
    """Return the fields with errors of these kinds, if there are no other errors; else none.

    For a value that may have several types, pydantic lists the errors for each type. It is enough if one type matches.
    """
    cases: dict[str, list[Any]] = {}
    for error in errors:
        case = next((str(part) for part in error["loc"] if part in {"Snapshot", "Refusal"}), "")
        cases.setdefault(case, []).append(error)
    always = cases.pop("", [])
    for found in [each + always for each in cases.values()] or [always]:
        if all(error["type"] in kinds for error in found):
            return [".".join(str(part) for part in error["loc"][1:]) for error in found]
    return []


def pack(doc: bytes) -> bytes:
    """Return the document, compressed."""
    return zlib.compress(doc, ZLIB_LEVEL)


def unpack(blob: bytes | str) -> bytes:
    """Return the document that ``pack`` compressed; older journals have some as text.

    Raises JournalCorruptError.
    """
    if isinstance(blob, str):
        return blob.encode()
    try:
        return zlib.decompress(blob)
    except (zlib.error, TypeError) as error:
        raise JournalCorruptError(f"a stored document cannot be unpacked: {error}") from error
