"""What several promise tests use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.roots import Roots

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - folders below it are made by tempfile


@pytest.fixture(scope="session")
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is such a thing: for faults that do not depend on what a disk has kept."""
    parent = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="promises-", dir=parent) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def roots(quick_folder: Path) -> Roots:
    """See Roots."""
    return Roots.below(quick_folder)
