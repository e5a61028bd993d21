"""What several tests of the service are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.cycle_rig import CycleRig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[CycleRig]:
    with CycleRig(tmp_path) as made:
        yield made
