"""Times without a zone, in processes whose local time is that of another place."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.commands import CommandResult, start
from tests.rigs.dashboard import Dashboard, fixed, payload
from tests.rigs.local_time import KOLKATA

NEW_YORK = "EST5"  # without its summer time, so that the hours below hold all the year
HOUR = timedelta(hours=1)
EVERYWHERE = pytest.mark.parametrize("zone", ["UTC0", NEW_YORK, KOLKATA], ids=["UTC", "New York", "Kolkata"])


def local(at: datetime, zone: str) -> str:
    """Return what a wall clock there shows, without a zone, to the second."""
    ahead = {"UTC0": 0 * HOUR, NEW_YORK: -5 * HOUR, KOLKATA: 5.5 * HOUR}[zone]
    return f"{at + ahead:%Y-%m-%dT%H:%M:%S}"


def governed(root: Path, zone: str, *words: str, **changes: Any) -> CommandResult:
    """Run a command in a process of its own, on a root whose dashboard sends a fresh payload with these changes."""
    said = fixed({**payload(), **changes})
    with Dashboard(said, said, said) as server:
        return start(root, *words, url=server.url, env={"TZ": zone})


@EVERYWHERE
def test_a_pause_until_local_time_lasts_until_then(tmp_path: Path, zone: str) -> None:
    """An operator's `until` in two hours by the wall clock pauses, wherever that is; log, check and status say so."""
    (tmp_path / "state").mkdir()
    now = datetime.now(UTC)
    until = local(now + 2 * HOUR, zone)
    (tmp_path / "state" / "guardian_pause.json").write_text(
        json.dumps({"paused": True, "reason": "maintenance", "until": until})
    )
    later = max(now + 2 * HOUR, datetime.fromisoformat(until).replace(tzinfo=UTC))
    checked = governed(tmp_path, zone, "check", "--json").json
    assert checked["next"]["reason"] == "paused"
    assert "has no time zone" in checked["next"]["hold"]
    assert f"{later:%Y-%m-%d %H:%M:%S} UTC" in checked["next"]["hold"]
    done = governed(tmp_path, zone, "once")
    assert f"{later:%Y-%m-%d %H:%M:%S} UTC" in done.err
    assert not (tmp_path / "runtime" / "capital_governor_allocations.json").exists()
    status = json.loads((tmp_path / "runtime" / "capital_governor_status.json").read_bytes())
    assert status["detail"] == checked["next"]["hold"]


@EVERYWHERE
@pytest.mark.parametrize("written", ["UTC", "local"])
def test_a_payload_without_a_zone_is_as_old_as_its_older_reading(tmp_path: Path, zone: str, written: str) -> None:
    """A fresh stamp counts where both readings are fresh, and else the hold names the zone as the cause."""
    now = datetime.now(UTC)
    stamp = local(now, "UTC0" if written == "UTC" else zone)
    done = governed(tmp_path, zone, "once", "--json", timestamp=stamp).json
    # New York: as UTC, local time is five hours old. Kolkata: as local time, UTC is five and a half hours old.
    old = (zone, written) in {(NEW_YORK, "local"), (KOLKATA, "UTC")}
    assert done["reason"] == ("payload_stale" if old else "first_allocation")
    if old:
        remedy = "let the producer write its offset" if zone == NEW_YORK else "start the governor with TZ=UTC"
        assert "timestamp has no time zone" in done["hold"]
        assert done["hold"].endswith(remedy)
    else:
        assert any(text.startswith("timestamp has no time zone") for text in done["warnings"])


@EVERYWHERE
def test_a_regime_without_a_zone_raises_nothing_by_that(tmp_path: Path, zone: str) -> None:
    """A detector that died an hour ago is dead in every zone, whichever way its stamp was written."""
    now = datetime.now(UTC)
    calm = {"regime": "BULL", "risk_multiplier": 1.0}
    first = {"regime": "BEAR", "risk_multiplier": 0.5, "timestamp": now.isoformat()}
    assert governed(tmp_path, zone, "once", "--json", market_regime=first).json["exposure"] == 0.5
    for stamp in (local(now - HOUR, "UTC0"), local(now - HOUR, zone)):
        said = governed(tmp_path, zone, "once", "--json", market_regime={**calm, "timestamp": stamp}).json
        assert said["exposure"] == 0.5
        assert any("its detector may be dead" in text for text in said["warnings"])
