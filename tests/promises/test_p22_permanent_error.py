"""P22: what only a person can mend has its own exit code, and the supervisor does not loop on it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.promises.ledger import Account, require
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.supervised import Site

FAULTS: Final = {
    "CAPITAL_GOVERNOR_INTERVAL": "soon",
    "CAPITAL_GOVERNOR_INTERVALL": "300",
}
EXITS_WITH_1: Final = (
    f"exec '{sys.executable}' -P -c 'from capital_governor.contracts import exit_codes; exit_codes.CONFIGURATION = 1;"
    ' from capital_governor.__main__ import main; import sys; sys.argv[1:] = ["run"]; main()\''
)


def prepare(home: Path, name: str, value: str, *, governor: str | None = None, patient: bool = True) -> Site:
    """Set up a governor with a bad setting beside an agent that keeps failing."""
    home.mkdir()
    site = Site(home)
    site.govern(governor)
    if not patient:
        site.change_supervisor("from capital_governor.supervisor import supervise", "supervise.PERMANENT = 999")
    site.settings = {name: value}
    site.agents("ensure_running brief 'exit 1'")
    return site


def give_up(site: Site) -> int:
    """Supervise it until it is given up; return how often it was started."""
    with site.started() as supervisor:
        gave_up = "capital_governor gave up"
        wait_until(lambda: gave_up in site.said() or len(site.pids("capital_governor")) > 1)
        # By the brief agent's clock, whose waits are no shorter than the first one of anything else.
        enough = len(site.pids("brief")) + 3
        wait_until(lambda: len(site.pids("brief")) >= enough)
        supervisor.terminate()
        supervisor.wait(PATIENCE_SECONDS)
    starts, said = len(site.pids("capital_governor")), site.said()
    require(starts == 1, f"started {starts} times with {site.settings}")
    require("capital_governor gave up with exit code 78" in said, f"not given up with {site.settings}")
    return starts


def test_p22_a_permanent_error_is_not_tried_again(promise: Account, tmp_path: Path) -> None:
    """The real governor under the real supervisor, with settings wrong in value or name: one start, code 78."""
    name, value = next(iter(FAULTS.items()))
    # All scripts are written before anything starts: a process that is forked meanwhile would keep them busy.
    sites = [prepare(tmp_path / fault, fault, wrong) for fault, wrong in FAULTS.items()]
    broken = [
        prepare(tmp_path / "governor", name, value, governor=EXITS_WITH_1),
        prepare(tmp_path / "supervisor", name, value, patient=False),
    ]
    try:
        with ThreadPoolExecutor() as pool:
            kept, (governor, supervisor) = ([pool.submit(give_up, site) for site in each] for each in (sites, broken))
    finally:
        for site in (*sites, *broken):
            site.clear()
    for each in kept:
        each.result()
    promise.figure(f"{len(FAULTS)} bad configurations: exit code 78, restarts 0")
    with promise.mutant("a governor that exits with 1"):
        governor.result()
    with promise.mutant("a supervisor that always tries again"):
        supervisor.result()
