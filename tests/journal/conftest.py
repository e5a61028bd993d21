"""What tests of the journal stand on: a place for one, and one of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from capital_governor.journal.protocol import (
    Journal,
)
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite
from capital_governor.journal.store import Store
from tests.rigs.journal_cycles import Told, resilient


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite3"


@pytest.fixture
def sqlite(path: Path) -> Iterator[Store]:
    journal = open_sqlite(path, busy_seconds=0.05)
    yield journal
    journal.close()


@pytest.fixture(params=["memory", "sqlite", "resilient"])
def journal(request: pytest.FixtureRequest, path: Path) -> Iterator[Journal]:
    made: Journal
    if request.param == "memory":
        made = in_memory()
    elif request.param == "sqlite":
        made = open_sqlite(path)
    else:
        made = resilient(path, on_lost=pytest.fail, on_restored=lambda count: pytest.fail(str(count)))
    yield made
    made.close()


@pytest.fixture
def told() -> Told:
    return Told()
