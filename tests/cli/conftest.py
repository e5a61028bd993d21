"""A root for orders, without and with a governor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.daemon import Daemon
from tests.rigs.dashboard import Dashboard
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
