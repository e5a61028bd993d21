"""Times without a zone: every reading, worked out by hand."""

from __future__ import annotations

import pytest

from capital_governor.contracts.instants import Instant, instant, read_instant
from tests.rigs.local_time import KOLKATA, NEW_YORK, local_time

NOON = 1_762_171_200.0  # 2025-11-03T12:00:00Z
HOUR = 3_600.0
FIRST, LAST = -62_135_596_800.0, 253_402_300_799.0  # 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z


@pytest.mark.parametrize("zone", ["UTC0", NEW_YORK, KOLKATA])
@pytest.mark.parametrize("text", ["2025-11-03T12:00:00Z", "2025-11-03T17:30:00+05:30", "2025-11-03T07:00:00-05:00"])
def test_a_time_with_a_zone_has_one_reading_everywhere(monkeypatch: pytest.MonkeyPatch, zone: str, text: str) -> None:
    """Where the machine stands plays no part."""
    with local_time(monkeypatch, zone):
        assert read_instant(text) == Instant(NOON, NOON, NOON)


@pytest.mark.parametrize(
    ("zone", "text", "as_utc", "earliest", "latest"),
    [
        pytest.param("UTC0", "2025-11-03T12:00:00", NOON, NOON, NOON, id="UTC"),
        pytest.param(NEW_YORK, "2025-11-03T12:00:00", NOON, NOON, NOON + 5 * HOUR, id="behind UTC"),
        pytest.param(KOLKATA, "2025-11-03T12:00:00", NOON, NOON - 5.5 * HOUR, NOON, id="ahead of UTC"),
        # 2025-07-01T12:00:00Z is 1,751,371,200; summer time there is four hours behind.
        pytest.param(NEW_YORK, "2025-07-01 12:00", 1_751_371_200.0, 1_751_371_200.0, 1_751_385_600.0, id="summer"),
        # 02:30 of 2025-03-09 does not exist there: as UTC 1,741,487,400, as standard time five hours later, as summer
        # time four.
        pytest.param(
            NEW_YORK,
            "2025-03-09T02:30",
            1_741_487_400.0,
            1_741_487_400.0,
            1_741_505_400.0,
            id="skipped hour",
        ),
        # 01:30 of 2025-11-02 occurs twice there: as UTC 1,762,047,000, four hours later, and five.
        pytest.param(
            NEW_YORK,
            "2025-11-02T01:30",
            1_762_047_000.0,
            1_762_047_000.0,
            1_762_065_000.0,
            id="repeated hour",
        ),
        # 00:30 of 2025-03-30 is skipped in a zone that goes from 1 to 2 hours ahead at midnight.
        pytest.param(
            "AAA-1BBB-2,M3.5.0/0,M10.5.0/0",
            "2025-03-30T00:30",
            1_743_294_600.0,
            1_743_287_400.0,
            1_743_294_600.0,
            id="earliest of a skipped hour",
        ),
        pytest.param(NEW_YORK, "9999-12-31T23:59:59", LAST, LAST, LAST, id="end"),
        pytest.param(KOLKATA, "0001-01-01", FIRST, FIRST, FIRST, id="beginning"),
    ],
)
def test_a_time_without_a_zone_has_every_reading(
    monkeypatch: pytest.MonkeyPatch, zone: str, text: str, as_utc: float, earliest: float, latest: float
) -> None:
    """As UTC, as local time, and both local times where clocks are changed; at the ends of the calendar as UTC."""
    with local_time(monkeypatch, zone):
        assert read_instant(text) == Instant(as_utc, earliest, latest, naive=True)


@pytest.mark.parametrize("text", ["", "soon", "2025-13-01T00:00:00Z", None, 1_762_171_200, ["2025-11-03"]])
def test_what_is_no_time_is_none(text: object) -> None:
    """Anything but an ISO 8601 text has no reading."""
    assert read_instant(text) is None


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z"]
)
def test_a_time_that_its_zone_puts_outside_of_the_calendar_cannot_be_written(text: str) -> None:
    """It has a reading, and files of the governor's own and the pause file take it for no time."""
    found = read_instant(text)
    assert found is not None
    assert not found.writable
    assert instant(text) is None


@pytest.mark.parametrize(("zone", "hours"), [("UTC0", 0), (NEW_YORK, 5), (KOLKATA, 0)])
def test_the_governor_s_own_files_take_the_later_reading(
    monkeypatch: pytest.MonkeyPatch, zone: str, hours: float
) -> None:
    """An order lasts no shorter than it was meant, nor does a cool-down, however its time was edited."""
    with local_time(monkeypatch, zone):
        assert instant("2025-11-03T12:00:00") == NOON + hours * HOUR
