"""Times as text -> seconds since 1970 UTC. A time without a zone may mean UTC or local time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_FIRST: Final = datetime.min.replace(tzinfo=UTC).timestamp()
_LAST: Final = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


@dataclass(frozen=True, slots=True)
class Instant:
    """What a written time may mean, in seconds since 1970 UTC.

    With a time zone all three are the same. Without one it may be meant as UTC or as this machine's local time, so each
    caller uses the one that is safer for it.

    Args:
        utc: read as UTC, if it has no zone.
        earliest: the earliest possible time.
        latest: the latest possible time.
        naive: whether it has no zone.
    """

    utc: float
    earliest: float
    latest: float
    naive: bool = False

    @property
    def ambiguous(self) -> bool:
        """Whether the possible times differ: it has no zone, and local time is not UTC."""
        return self.earliest != self.latest

    @property
    def writable(self) -> bool:
        """Whether it is within the years 1 to 9999 UTC, so that it can be written."""
        return self.earliest >= _FIRST and self.latest <= _LAST

    @property
    def earliest_is_utc(self) -> bool:
        """Whether read as UTC it is the earliest."""
        return self.earliest == self.utc


def read_instant(text: object) -> Instant | None:
    """Return what an ISO 8601 time may mean; None if it is not a time.

    Besides the text it depends on the time zone of this machine (environment variable TZ, /etc/localtime). A local time
    that a change of the clocks skips or repeats may mean two times; both count.
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
    """Return the two times that a local time may mean; they differ only when the clocks change."""
    try:
        return [moment.replace(fold=fold).timestamp() for fold in (0, 1)]
    except (ValueError, OverflowError):
        return []  # local time is outside of the calendar, before year 1 or after 9999


def instant(text: object) -> float | None:
    """Return an ISO time as seconds since 1970 UTC; None if it is not a time.

    Without a zone it counts as the later of UTC and this machine's local time, so that neither an order nor a cool-down
    ends earlier than meant.
    """
    found = read_instant(text)
    return found.latest if found is not None and found.writable else None
