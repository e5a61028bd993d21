"""The soak's fleet: its story goes on, its swings make a move due, and the real hive serves it through the gateway."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from capital_governor.contracts.payload import parse
from capital_governor.core.model import Snapshot
from capital_governor.core.reason import MOVES, STAYS, Reason
from capital_governor.hive.metrics import payload
from capital_governor.hive.simulation import FLEET, JOINS_DAY
from capital_governor.hive.state_files import PAUSE, PERFORMANCE, REGIME, StateFile, StateFiles, read_all
from capital_governor.service.cycle import PAUSE_FILE
from tests.rigs.builders import NOW
from tests.rigs.cycle_rig import CycleRig
from tests.rigs.patience import wait_until
from tests.soak.fleet import WRITE_SECONDS, FleetServer
from tests.soak.gateway import ask, better_half
from tests.soak.plant import SETTINGS
from tests.soak.seasons import DAY_SECONDS, SEASON_DAYS, Seasons, write

SEASON_SECONDS = SEASON_DAYS * DAY_SECONDS
CAPITAL = float(SETTINGS["CAPITAL_GOVERNOR_HIVE_CAPITAL"])
FORMULA: dict[str, Any] = {"PNL_WEIGHT": 0.4, "SHARPE_WEIGHT": 0.3, "WINRATE_WEIGHT": 0.2, "DRAWDOWN_WEIGHT": 0.1}


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def told(seasons: Seasons, now: float) -> dict[str, Any]:
    """What the hive makes of the files."""
    files = {path: StateFile(said) for path, said in seasons.documents(now).items()}
    return payload(StateFiles(performance=files[PERFORMANCE], regime=files[REGIME]), now, CAPITAL)


def test_a_seed_repeats_the_fleet() -> None:
    """However often it was looked at; another seed, and the next season, have other luck."""
    clock = Clock()
    one, again, other = Seasons(7, clock), Seasons(7, clock), Seasons(8, clock)
    for second in range(0, 100, 7):
        clock.seconds = second
        one.documents(NOW)
    assert one.documents(NOW) == again.documents(NOW) != other.documents(NOW)
    sooner = again.documents(NOW)
    clock.seconds += SEASON_SECONDS
    assert again.documents(NOW)[PERFORMANCE] != sooner[PERFORMANCE]


@pytest.mark.parametrize("season", [0, 5, 300])
def test_every_season_has_three_regimes_and_a_newcomer(season: int) -> None:
    """So exposure, ranking and membership go on changing for as long as a soak lasts."""
    clock = Clock()
    seasons = Seasons(7, clock)
    risks, sizes = [], []
    for part in range(30):
        clock.seconds = (season + part / 30) * SEASON_SECONDS
        said = told(seasons, NOW)
        risks.append(said["market_regime"]["risk_multiplier"])
        sizes.append(len(said["per_agent"]))
    assert list(dict.fromkeys(risks)) == [1.2, 0.5, 0.8]
    assert sizes == [len(FLEET) - (part / 30 * SEASON_DAYS < JOINS_DAY) for part in range(30)]


def test_the_pause_file_is_never_among_them() -> None:
    """The simulation's own pause would end the soak's."""
    clock = Clock()
    seasons = Seasons(7, clock)
    for day in range(int(SEASON_DAYS)):
        clock.seconds = day * DAY_SECONDS
        assert PAUSE not in seasons.documents(NOW)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("day", [6.0, 15.0, 18.0, 23.0, 28.0])
def test_a_swing_makes_a_move_due(tmp_path: Path, day: float, seed: int) -> None:
    """With default thresholds, in each regime, also while an agent is faulty; without a swing all stays as it is."""
    clock = Clock()
    seasons = Seasons(seed, clock)
    with CycleRig(tmp_path, **FORMULA) as rig:

        def reason() -> Reason:
            said = parse(json.dumps(told(seasons, rig.now)).encode())
            assert isinstance(said, Snapshot)
            return rig.cycle(said).decision.reason

        clock.seconds = day * DAY_SECONDS - 20
        reason()
        clock.seconds = day * DAY_SECONDS
        reason()
        assert reason() in STAYS
        for _ in range(2):
            seasons.swing(better_half(told(seasons, rig.now)["per_agent"]))
            assert reason() in MOVES
            assert reason() in STAYS


def test_a_swing_ends_with_its_season() -> None:
    """Then the fleet's own story moves the capital again."""
    clock = Clock()
    swung, untouched = Seasons(7, clock), Seasons(7, clock)
    swung.swing(["GridKeeper"])
    assert told(swung, NOW)["per_agent"]["GridKeeper"]["winrate_30d"] == 0.0
    assert told(swung, NOW)["per_agent"]["NewsScalper"]["winrate_30d"] == 1.0
    clock.seconds = SEASON_SECONDS
    assert swung.documents(NOW) == untouched.documents(NOW)


def test_a_full_disk_leaves_the_files_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there stays whole, nothing is left beside it, and the next write succeeds; other errors are raised."""
    seasons = Seasons(7)
    assert write(tmp_path, seasons.documents(NOW))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}

    def half(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", half)
        assert not write(tmp_path, seasons.documents(NOW + 60))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert write(tmp_path, seasons.documents(NOW + 60))
    assert (tmp_path / REGIME).read_bytes() != before[tmp_path / REGIME]
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        write(tmp_path / "file", seasons.documents(NOW))


@contextmanager
def hive(root: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The real hive on the root."""
    environment = {"PATH": os.defpath, "NEOLIGHT_DASHBOARD_URL": f"http://127.0.0.1:{port}"}
    line = [sys.executable, "-P", "-m", "capital_governor", "hive", "--root", str(root)]
    with subprocess.Popen(line, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_real_hive_serves_the_fleet(tmp_path: Path) -> None:
    """Orders feed it, and the governor's parser reads its answer; a hive that is killed and comes again finds its port.

    A swing shows in the next answer, also while figures stand still. A pause of the soak's own outlives all writing,
    and is what the hive tells.
    """
    threads = threading.active_count()
    with closing(FleetServer(7)) as server:
        gateway_port = int(str(server.act("urls")[0]).rpartition(":")[2])  # type: ignore[index]
        server.act(f"feed {tmp_path}")
        for _ in range(2):
            with hive(tmp_path, server.hive_port) as process:
                wait_until(lambda: ask(gateway_port) is not None)
                assert process.poll() is None
        assert server.gateway.counts["refused"] == 0
        assert server.gateway.counts["relayed"] >= 2
        (tmp_path / PAUSE_FILE).write_text('{"paused": true, "reason": "soak"}')
        with hive(tmp_path, server.hive_port):
            wait_until(lambda: ask(gateway_port) is not None)
            wait_until(two_writes(tmp_path / PERFORMANCE))
            server.act("still")
            before = ask(gateway_port)
            server.act("swing")
            said = ask(gateway_port)
        server.act("rest")
        after = (tmp_path / PERFORMANCE).read_bytes()
        time.sleep(2 * WRITE_SECONDS)
    assert before is not None
    assert said is not None
    assert threading.active_count() == threads
    assert losing(before) < 3 <= losing(said)
    snapshot = parse(said.partition(b"\r\n\r\n")[2])
    assert isinstance(snapshot, Snapshot)
    assert snapshot.guardian is not None
    assert (snapshot.guardian.is_paused, snapshot.guardian.reason) == (True, "soak")
    assert snapshot.metrics.keys() == {name for name, character in FLEET.items() if character.joins_day is None}
    assert all(file.document is not None for file in (read_all(tmp_path).performance, read_all(tmp_path).regime))
    assert (tmp_path / PERFORMANCE).read_bytes() == after


def losing(said: bytes) -> int:
    agents = json.loads(said.partition(b"\r\n\r\n")[2])["per_agent"].values()
    return sum(metrics["winrate_30d"] == 0.0 for metrics in agents)


def two_writes(path: Path) -> Any:
    """Whether the file has been replaced twice since this was made."""
    inodes = {path.stat().st_ino}

    def done() -> bool:
        inodes.add(path.stat().st_ino)
        return len(inodes) > 2

    return done
