"""The local time of the machine, set to that of another place for a while.

The zones are written as rules, not as names of places: a machine without a time zone database knows them too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

NEW_YORK: Final = "EST5EDT,M3.2.0,M11.1.0"
"""Five hours behind UTC, four from the second Sunday of March to the first of November."""
KOLKATA: Final = "IST-5:30"
"""Five and a half hours ahead of UTC, all the year."""


@contextmanager
def local_time(monkeypatch: pytest.MonkeyPatch, zone: str) -> Iterator[None]:
    """Let local time be that of ``zone`` in this process."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        try:
            yield
        finally:
            patch.undo()
            time.tzset()
