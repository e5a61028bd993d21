"""What several tests of the adapters are given."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from capital_governor.adapters import logs
from capital_governor.adapters.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "runtime").mkdir()
    return Paths(tmp_path)


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Leave the process's logging as it was found."""
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore")}
    yield
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, logs.Bridge)]:
        root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
