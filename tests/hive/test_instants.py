"""Times with and without a zone."""

from __future__ import annotations

import pytest

from capital_governor.contracts.instants import Instant, read_instant
from tests.hive.fleet_files import HOUR, NOW


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"], indirect=True)
@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("text", ["2025-11-03T22:00:00+00:00", "2025-11-03T22:00:00Z", "2025-11-03T23:30:00+01:30"])
def test_a_time_with_a_zone_is_one_moment(text: str) -> None:
    """Wherever the machine stands."""
    assert read_instant(text) == Instant(NOW, NOW, NOW)


@pytest.mark.parametrize(
    ("zone", "earliest", "latest"),
    [("UTC", 0, 0), ("America/New_York", 0, 5), ("Asia/Tokyo", -9, 0)],
    indirect=["zone"],
)
@pytest.mark.usefixtures("zone")
def test_a_time_without_a_zone_has_two_readings(earliest: int, latest: int) -> None:
    """22:00 in New York is 3:00 UTC of the next day, and in Tokyo it is 13:00 UTC."""
    assert read_instant("2025-11-03T22:00:00") == Instant(NOW, NOW + earliest * HOUR, NOW + latest * HOUR, naive=True)


@pytest.mark.parametrize("zone", ["America/New_York"], indirect=True)
@pytest.mark.usefixtures("zone")
def test_the_repeated_hour_has_three_readings() -> None:
    """1:30 on the day on which summer time ends is 1:30 UTC, 5:30 UTC or 6:30 UTC."""
    found = read_instant("2025-11-02T01:30:00")
    assert found is not None
    assert (found.earliest - found.utc, found.latest - found.utc) == (0, 5 * HOUR)


@pytest.mark.parametrize("text", ["soon", "", 5, None])
def test_what_is_no_time(text: object) -> None:
    """What is no ISO 8601 time means no moment."""
    assert read_instant(text) is None
