"""Roots as an earlier version left them, made by that version's own code."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Final

OLD_CYCLES: Final = 10
_DATA: Final = Path(__file__).resolve().parents[1] / "data"


def unpack(folder: Path) -> None:
    """Put a root there that version 0.1.0 left with a journal of schema 3, ten cycles and two moves.

    In force are a cap on Ada and nothing else; a hold has lapsed, and three notices were never sent.
    """
    _extract("root_of_schema_3.tar.gz", folder)


def unpack_schema_4(folder: Path) -> None:
    """Put a root there that version 0.1.0 left with a journal of schema 4, eleven cycles and three moves.

    In force are a cap on Ada and a floor of Cyd; a cap on Bob was taken back, a hold has lapsed. Dan has had no record
    in the last three cycles, so that the next one would have retired it. One notice was never sent.
    """
    _extract("root_of_schema_4.tar.gz", folder)


def unpack_schema_5(folder: Path) -> None:
    """Put a root there that version 0.2.0 left with a journal of schema 5, nine cycles, two moves and two cuts.

    A cap on Ada is in force and withholds. Cyd has lapsed in the last cycle. Five notices were never sent.
    """
    _extract("root_of_schema_5.tar.gz", folder)


def _extract(name: str, folder: Path) -> None:
    with tarfile.open(_DATA / name) as archive:
        archive.extractall(folder, filter="data")
