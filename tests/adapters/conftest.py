"""What several tests of the adapters are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from capital_governor.adapters.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "runtime").mkdir()
    return Paths(tmp_path)
