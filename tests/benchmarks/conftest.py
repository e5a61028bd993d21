"""The table of all benchmarks, printed at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.benchmarks.measures import Table


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    table = Table()
    yield table
    print(f"\n\n{table.text()}\n")  # noqa: T201 - what the benchmarks are for
