"""Times in the files that the hive reads: ISO 8601; one without a zone can mean more than one moment.

Pure, but for the machine's time zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment, in seconds since 1970 UTC, or those that a time without a zone can mean.

    Args:
        utc: what it is if it is UTC where no zone is given.
        earliest: the first moment that it can mean: UTC or this machine's local time.
        latest: the last one.
        zoned: whether a zone is given, so that all three are the same.
    """

    utc: float
    earliest: float
    latest: float
    zoned: bool


def instant(stamp: object) -> Instant | None:
    """Return what an ISO 8601 time means; None if it is none."""
    if not isinstance(stamp, str):
        return None
    try:
        written = datetime.fromisoformat(stamp)
        if written.utcoffset() is not None:
            moment = written.timestamp()
            return Instant(moment, moment, moment, zoned=True)
        utc = written.replace(tzinfo=UTC).timestamp()
        # The hour that is repeated at the end of summer time means two moments: both are tried.
        possible = (utc, written.replace(fold=0).timestamp(), written.replace(fold=1).timestamp())
    except (ValueError, OverflowError, OSError):
        return None
    return Instant(utc, min(possible), max(possible), zoned=False)
