"""Places that the tests of the manual share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.manual.pages import (
    FLEET_OF_EXAMPLE,
)
from tests.manual.program import Place, records
from tests.rigs.dashboard import Dashboard, fresh


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Dashboard(fresh(records(FLEET_OF_EXAMPLE), risk=0.8)) as dashboard:
        yield Place(tmp_path_factory.mktemp("neolight"), dashboard)
