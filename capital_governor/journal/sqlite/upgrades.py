"""SQLite journals of older schemas: statements that upgrade them, and views to read them without a change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Final

from capital_governor.journal.tables import SCHEMA_VERSION, TABLES, create_all, create_index, create_table

TYPES: Final = {"serial": "INTEGER PRIMARY KEY AUTOINCREMENT", "real": "REAL", "blob": "BLOB"}
"""AUTOINCREMENT: a number is never used twice, so that a remembered one stays valid."""

_BEFORE_ORDERS: Final = frozenset({"states", "rules", "cycles", "publications", "notices"})
OLDER_TABLES: Final[Mapping[int, frozenset[str]]] = {
    1: _BEFORE_ORDERS,
    2: _BEFORE_ORDERS | {"orders"},
    3: _BEFORE_ORDERS | {"orders"},
    4: TABLES,
    5: TABLES,
}
"""By schema, the tables that a journal must have."""
OLDER_WITH_ORDERS: Final = frozenset({2, 3, 4, 5})
"""The older schemas with a table of orders, to which a command adds orders while a governor of that version runs."""

_NEW_COLUMNS: Final = (
    "key TEXT NOT NULL DEFAULT ''",
    "previous TEXT NOT NULL DEFAULT ''",
    "unseen TEXT",
    "version TEXT NOT NULL DEFAULT ''",
)
_PUBLICATIONS: Final = "rowid AS id, book, generation, at, reached, content_digest(doc) AS digest, doc"
_HEADS: Final = """SELECT book, 'entry-' || max(seq) AS key,
    (SELECT state_after FROM cycles AS newest WHERE newest.book = cycles.book ORDER BY seq DESC LIMIT 1) AS state
    FROM {schema}cycles GROUP BY book"""
_TO_ORDERS: Final = (create_table("orders", TYPES), create_index("orders_standing"))
_TO_DERIVED: Final = (
    "DROP INDEX IF EXISTS cycles_at",
    "DROP INDEX IF EXISTS cycles_generation",
    "DROP INDEX IF EXISTS publications_at",
    "DROP INDEX IF EXISTS publications_reached",
    "ALTER TABLE publications RENAME TO publications_3",
    create_table("publications", TYPES),
    f"""INSERT INTO publications (id, book, generation, at, reached, digest, doc)
        SELECT {_PUBLICATIONS} FROM publications_3""",  # noqa: S608 - a constant
    "DROP TABLE publications_3",
    "ALTER TABLE states ADD COLUMN published INTEGER REFERENCES publications (id)",
    *(f"ALTER TABLE cycles ADD COLUMN {column}" for column in _NEW_COLUMNS),
    create_table("heads", TYPES),
    f"INSERT INTO heads (book, key, state) {_HEADS.format(schema='')}",
    *(create_index(name) for name in ("cycles_at", "publications_at", "publications_reached", "states_published")),
)
"""Schema 4 stores each publication once, and no trace."""
_TO_SHARE_OUT: Final = (
    "ALTER TABLE orders ADD COLUMN share_out INTEGER NOT NULL DEFAULT 0",
    "UPDATE orders SET share_out = 1 WHERE cap IS NOT NULL",
)
"""Before schema 5 what a cap took was always shared out. Older caps go on like that, so the upgrade moves nothing."""
_DIFFERS: Final = """{cycles}.generation IS NOT NULL OR {cycles}.reason IS NOT (SELECT reason FROM {table} AS earlier
    WHERE earlier.book = {cycles}.book AND earlier.seq < {cycles}.seq ORDER BY earlier.seq DESC LIMIT 1)"""
_TO_TURNS: Final = (
    "ALTER TABLE cycles ADD COLUMN facts TEXT",
    f"UPDATE cycles SET facts = '{{}}' WHERE {_DIFFERS.format(cycles='cycles', table='cycles')}",  # noqa: S608 - constants
    create_index("cycles_turns"),
)
"""Schema 6 has the facts of each cycle that differed from the one before. Of an older one only the reason is known."""
_UPGRADES: Final[Mapping[int, tuple[str, ...]]] = {
    1: _TO_ORDERS + _TO_DERIVED + _TO_TURNS,
    2: _TO_DERIVED + _TO_SHARE_OUT + _TO_TURNS,
    3: _TO_DERIVED + _TO_SHARE_OUT + _TO_TURNS,
    4: _TO_SHARE_OUT + _TO_TURNS,
    5: _TO_TURNS,
}
"""By schema, the statements that upgrade to the current one; from 2 to 3 only the content of rows changed."""


def statements(version: int) -> Iterator[str]:
    """Yield the statements that upgrade from this schema to the current one; schema 0 is an empty file."""
    if version == 0:
        yield from create_all(TYPES)
    elif version < SCHEMA_VERSION:
        yield from _UPGRADES[version]


def views(version: int) -> Iterator[str]:
    """Yield the views through which a journal of this schema reads like the current one, without changing it."""
    if version >= SCHEMA_VERSION:
        return
    facts = f"CASE WHEN {_DIFFERS.format(cycles='cycles', table='main.cycles')} THEN '{{}}' END AS facts"
    if version >= 4:  # noqa: PLR2004 - the first schema with the tables of today, but for two columns
        yield f"CREATE TEMP VIEW cycles AS SELECT *, {facts} FROM main.cycles AS cycles"  # noqa: S608 - constants
        return
    more = f"'' AS key, '' AS previous, NULL AS unseen, '' AS version, {facts}"
    yield f"CREATE TEMP VIEW cycles AS SELECT *, {more} FROM main.cycles AS cycles"  # noqa: S608 - constants
    yield "CREATE TEMP VIEW states AS SELECT *, NULL AS published FROM main.states"
    yield f"CREATE TEMP VIEW publications AS SELECT {_PUBLICATIONS} FROM main.publications"  # noqa: S608 - constants
    yield f"CREATE TEMP VIEW heads AS {_HEADS.format(schema='main.')}"
    if version == 1:
        yield create_table("orders", TYPES).replace("CREATE TABLE", "CREATE TEMP TABLE", 1)


def content_digest(doc: str | bytes) -> bytes:
    """Return the digest of a document as the store computes it; older journals have publications as text."""
    return blake2b(doc.encode() if isinstance(doc, str) else doc, digest_size=16).digest()
