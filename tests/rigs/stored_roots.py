"""A root as an earlier version left it, made by that version's own code."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Final

OLD_CYCLES: Final = 10
_ROOT: Final = Path(__file__).resolve().parents[1] / "data" / "root_of_schema_3.tar.gz"


def unpack(folder: Path) -> None:
    """Put a root there that version 0.1.0 left with a journal of schema 3, ten cycles and two moves.

    In force are a cap on Ada and nothing else; a hold has lapsed, and three notices were never sent.
    """
    with tarfile.open(_ROOT) as archive:
        archive.extractall(folder, filter="data")
