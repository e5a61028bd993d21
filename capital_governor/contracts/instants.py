"""Times that others write as text -> seconds since 1970 UTC; one without a time zone has more than one reading."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_FIRST: Final = datetime.min.replace(tzinfo=UTC).timestamp()
_LAST: Final = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


@dataclass(frozen=True, slots=True)
class Instant:
    """What a written time may mean, in seconds since 1970 UTC.

    With a time zone all three are the same. Without one it may have been meant as UTC or as the local time of the
    machine, and nobody can tell: each caller takes the reading that is safer for it.

    Args:
        utc: as UTC, where it says no zone.
        earliest: the earliest reading.
        latest: the latest reading.
        naive: whether it says no zone.
    """

    utc: float
    earliest: float
    latest: float
    naive: bool = False

    @property
    def ambiguous(self) -> bool:
        """Whether the readings differ: without a zone, on a machine whose local time is not UTC."""
        return self.earliest != self.latest

    @property
    def writable(self) -> bool:
        """Whether it lies in the years 1 to 9999 UTC, so that it can be written too."""
        return self.earliest >= _FIRST and self.latest <= _LAST

    @property
    def earliest_is_utc(self) -> bool:
        """Whether the reading as UTC is the earliest."""
        return self.earliest == self.utc


def read_instant(text: object) -> Instant | None:
    """Return what an ISO 8601 time may mean; None if it is no time.

    Apart from the text it depends on the time zone of this machine (environment variable TZ, /etc/localtime).
    Local times that a change of the clocks skips or repeats have two local readings; both count.
    """
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        if moment is None:
            return None
        if moment.utcoffset() is not None:
            seconds = moment.timestamp()
            return Instant(seconds, seconds, seconds)
    except (ValueError, OverflowError):
        return None
    as_utc = moment.replace(tzinfo=UTC).timestamp()
    readings = [as_utc, *_local(moment)]
    return Instant(as_utc, max(_FIRST, min(readings)), min(_LAST, max(readings)), naive=True)


def _local(moment: datetime) -> list[float]:
    """Return the two readings as local time, which are the same but when the clocks change."""
    try:
        return [moment.replace(fold=fold).timestamp() for fold in (0, 1)]
    except (ValueError, OverflowError):
        return []  # at the ends of the calendar, where local time leaves it


def instant(text: object) -> float | None:
    """Return an ISO time as seconds since 1970 UTC; None if it is no time.

    Without a zone it counts as the later of UTC and this machine's local time: an order then lasts no shorter than its
    author meant, nor does a cool-down.
    """
    found = read_instant(text)
    return found.latest if found is not None and found.writable else None
