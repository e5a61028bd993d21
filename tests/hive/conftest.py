"""What several tests of the hive need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rigs.local_time import local_time


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's time zone for one test."""
    with local_time(monkeypatch, request.param):
        yield
