"""What another version has written is refused or told as such, and never set aside as damaged."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from capital_governor import __version__
from capital_governor.core.model import (
    Inputs,
    Publication,
    Rules,
    State,
)
from capital_governor.journal.fallback import ResilientJournal
from capital_governor.journal.protocol import (
    LIVE,
    JournalCorruptError,
    JournalRefusedError,
)
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite
from capital_governor.journal.tables import SCHEMA_VERSION
from tests.rigs.journal_cycles import Told, chain, stored, tell


def rewrite(path: Path, column: str, change: Callable[[bytes], bytes]) -> None:
    """Change the documents of a column, given as ``table.column``, without their compression."""
    table, name = column.split(".")
    plain = sqlite3.connect(path)
    for row, doc in plain.execute(f"SELECT rowid, {name} FROM {table}").fetchall():  # noqa: S608 - own words
        packed = isinstance(doc, bytes)
        new = change(zlib.decompress(doc)) if packed else change(doc.encode())
        value = zlib.compress(new) if packed else new.decode()
        plain.execute(f"UPDATE {table} SET {name} = ? WHERE rowid = ?", (value, row))  # noqa: S608 - own words
    plain.commit()
    plain.close()


@pytest.mark.parametrize("column", ["states.doc", "cycles.inputs", "rules.doc", "publications.doc"])
def test_a_field_that_is_not_known_is_of_a_newer_version(path: Path, told: Told, column: str) -> None:
    """It is refused and left as it is, not set aside as damaged: the message names both versions."""
    journal = open_sqlite(path)
    tell(journal, *chain(1))
    journal.close()
    plain = sqlite3.connect(path)
    plain.execute("UPDATE cycles SET version = '9.1.2'")
    plain.commit()
    plain.close()
    rewrite(path, column, lambda doc: b'{"unheard_of": 1, ' + doc[1:])
    before = path.read_bytes()
    with pytest.raises(JournalRefusedError, match=rf"version.*this is version {__version__}.*unheard_of"):
        ResilientJournal(
            lambda: open_sqlite(path),
            memory=in_memory(),
            set_aside=lambda: pytest.fail("set aside"),
            on_lost=told.lost.append,
            on_restored=told.restored.append,
        )
    assert path.read_bytes() == before
    with pytest.raises(
        JournalRefusedError, match="newer version" if column == "publications.doc" else r"9\.1\.2|newer version"
    ):
        stored(path)


def test_a_reason_of_another_version_is_no_damage(path: Path) -> None:
    """A word that this version does not know is one of a newer version's, if another version wrote it."""
    journal = open_sqlite(path)
    tell(journal, *chain(2))
    plain = sqlite3.connect(path)
    try:
        plain.execute("UPDATE cycles SET reason = 'mood' WHERE seq = 1")
        plain.execute("UPDATE publications SET reached = 1")
        plain.commit()
        with pytest.raises(JournalCorruptError, match="mood"):
            journal.timeline(LIVE, 0.0)
        plain.execute("UPDATE cycles SET version = '9.1.2'")
        plain.commit()
        with pytest.raises(JournalRefusedError, match=r"version 9\.1\.2"):
            journal.timeline(LIVE, 0.0)
    finally:
        plain.close()
        journal.close()


FINGERPRINTS = {4: "62140e35e27f9802", 5: "da79da40919848f4", 6: "da79da40919848f4"}
"""By schema: of the stored types. Never change one; raise SCHEMA_VERSION where a type changes, and add a line."""


def fingerprint(*kinds: Any) -> str:
    """Return what tells stored types apart: names, types and order of all fields, those of fields in them too."""
    told: dict[str, list[str]] = {}
    open_kinds = list(kinds)
    while open_kinds:
        kind = open_kinds.pop()
        if kind.__name__ in told:
            continue
        hints = get_type_hints(kind)
        told[kind.__name__] = [name + ": " + re.sub(r"[\w.]+[.]", "", str(hint)) for name, hint in hints.items()]
        for part in itertools.chain.from_iterable(_parts(hint) for hint in hints.values()):
            if is_dataclass(part) or hasattr(part, "_fields"):
                open_kinds.append(part)  # noqa: PERF401 - it grows while it is read
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=8).hexdigest()


def _parts(hint: Any) -> Iterator[Any]:
    """Yield a type, or the types that it is made of."""
    yield hint
    for each in get_args(hint):
        yield from _parts(each)


def test_a_stored_type_does_not_change_without_a_new_schema() -> None:
    """An older version that meets the new type must find a schema that it does not know."""
    assert FINGERPRINTS[SCHEMA_VERSION] == fingerprint(Inputs, State, Rules, Publication)


def test_the_fingerprint_sees_every_field() -> None:
    """A field that is added, renamed or of another type changes it, at any depth."""

    def of(**fields: Any) -> str:
        inner: Any = make_dataclass("Inner", fields.items())
        return fingerprint(make_dataclass("Outer", [("inner", Mapping[str, inner])]))

    whole = of(a=int, b=str | None)
    assert whole == of(a=int, b=str | None)
    others = [of(a=int), of(a=int, c=str | None), of(b=str | None, a=int), of(a=float, b=str | None)]
    assert len({whole, *others}) == 5
