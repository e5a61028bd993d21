"""The journal's tables and indices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

SCHEMA_VERSION: Final = 6
"""Raise it with every change of a table or stored type, and add the upgrade to ``sqlite/upgrades.py``."""

_TABLES: Final[Mapping[str, str]] = {
    "publications": """CREATE TABLE publications (
        id {serial}, book TEXT NOT NULL, generation INTEGER NOT NULL, at {real} NOT NULL,
        reached INTEGER NOT NULL,    -- 1: the primary file has carried it
        digest {blob} NOT NULL, doc {blob} NOT NULL, UNIQUE (book, generation, digest))""",
    "states": """CREATE TABLE states (
        id {serial}, digest {blob} NOT NULL UNIQUE, doc {blob} NOT NULL,
        published INTEGER REFERENCES publications (id))  -- left out of doc; NULL: doc has it, or there is none""",
    "rules": "CREATE TABLE rules (id {serial}, digest {blob} NOT NULL UNIQUE, doc TEXT NOT NULL)",
    "cycles": """CREATE TABLE cycles (
        seq {serial}, book TEXT NOT NULL, at {real} NOT NULL, reason TEXT NOT NULL,
        generation INTEGER,          -- of what was proposed
        published INTEGER,           -- generation that stood afterwards
        decided INTEGER NOT NULL,    -- 1: came as far as scores
        inputs {blob} NOT NULL,
        decision {blob} NOT NULL,    -- empty; older schemas had reason, proposal and trace in it
        rules INTEGER NOT NULL REFERENCES rules (id),
        state_before INTEGER NOT NULL REFERENCES states (id),
        state_after INTEGER NOT NULL REFERENCES states (id),
        state_decided INTEGER REFERENCES states (id),  -- NULL; of older schemas
        key TEXT NOT NULL DEFAULT '',
        previous TEXT NOT NULL DEFAULT '',    -- key of the entry before
        unseen TEXT,                 -- NULL: inputs has all metrics; else state_after has them, but for these agents
        version TEXT NOT NULL DEFAULT '',     -- of the program that decided
        facts TEXT)                  -- NULL: like the entry before; else why, {{}} if an older schema recorded it""",
    "heads": """CREATE TABLE heads (
        book TEXT PRIMARY KEY, key TEXT NOT NULL,  -- of its newest entry
        state INTEGER NOT NULL REFERENCES states (id))""",
    "notices": """CREATE TABLE notices (
        id {serial},                 -- the order in which they were made
        key TEXT NOT NULL UNIQUE, created_at {real} NOT NULL, text TEXT NOT NULL,
        topic TEXT NOT NULL,         -- of an alert: its episode
        begins INTEGER NOT NULL,     -- of an alert: 1 where the episode begins, 0 where it is over
        state TEXT NOT NULL,         -- held, pending, sent, refused or withdrawn
        attempts INTEGER NOT NULL, due_at {real} NOT NULL, detail TEXT NOT NULL)""",
    "orders": """CREATE TABLE orders (
        id {serial},                 -- the order in which they were given
        key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, author TEXT NOT NULL, given_at {real} NOT NULL,
        until {real},                -- NULL: until it is taken back
        reason TEXT NOT NULL,
        agent TEXT NOT NULL, cap {real}, floor {real},  -- of a limit
        accepts TEXT NOT NULL,       -- of an accept: the hold that it is about
        ended_at {real},             -- NULL: in force, unless until is over
        ended_by TEXT NOT NULL,
        ended TEXT NOT NULL,         -- taken back, replaced, used or lapsed; empty: not before its time
        end_detail TEXT NOT NULL,
        share_out INTEGER NOT NULL DEFAULT 0)  -- of a limit: 1 if what its cap takes is given to the others""",
}
_INDICES: Final[Mapping[str, str]] = {
    "publications_at": "publications (at)",
    "publications_reached": "publications (book, generation) WHERE reached = 1",
    "states_published": "states (published) WHERE published IS NOT NULL",
    "cycles_at": "cycles (book, at)",
    "cycles_book": "cycles (book, seq)",
    "cycles_turns": "cycles (book, at) WHERE facts IS NOT NULL",
    "cycles_decided": "cycles (book, seq) WHERE decided = 1",
    "cycles_state_before": "cycles (state_before)",
    "cycles_state_after": "cycles (state_after)",
    "cycles_state_decided": "cycles (state_decided) WHERE state_decided IS NOT NULL",
    "notices_state": "notices (state, id)",
    "notices_at": "notices (created_at) WHERE state <> 'pending'",
    "notices_topic": "notices (topic, id) WHERE topic <> ''",
    "orders_standing": "orders (id) WHERE ended_at IS NULL",
}
TABLES: Final = frozenset(_TABLES)


def create_table(name: str, types: Mapping[str, str]) -> str:
    """Return the statement that makes a table; ``types`` has the database's names for serial, real and blob."""
    return _TABLES[name].format_map(types)


def create_index(name: str) -> str:
    """Return the statement that makes an index."""
    return f"CREATE INDEX {name} ON {_INDICES[name]}"


def create_all(types: Mapping[str, str]) -> Iterator[str]:
    """Yield the statements that make an empty journal."""
    for name in _TABLES:
        yield create_table(name, types)
    for name in _INDICES:
        yield create_index(name)
