"""Roots: for orders, without and with a governor; and with a night behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.daemon import Daemon
from tests.rigs.dashboard import Dashboard
from tests.rigs.night import whole_night
from tests.rigs.ordered_root import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    root = tmp_path / "root"
    root.mkdir()
    with Dashboard() as dashboard:
        yield Place(root, dashboard)


@pytest.fixture
def governor(place: Place) -> Iterator[Daemon]:
    """A governor that has published its first allocation."""
    with Daemon(place.root, place.dashboard.url) as running:
        running.says("Allocations saved")
        yield running


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a night behind it. Tests only read it."""
    root = tmp_path_factory.mktemp("night")
    whole_night(root)
    return root
