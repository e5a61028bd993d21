"""P9: every published move is told at least once, twice at most where a crash came between; a refusal ends it."""

from __future__ import annotations

import random
import signal
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from tests.promises.ledger import Account, require
from tests.rigs.bot_api import BotApi, ok, refuse, then
from tests.rigs.daemon import FIRST, Daemon, configure, moves_told, pending, reading
from tests.rigs.dashboard import DOWN, Dashboard, moving
from tests.rigs.patience import PATIENCE_SECONDS, wait_until

REFUSALS: Final = (400, 401, 403, 404)
NOTED_FIRST: Final = """
from capital_governor.service.outbox import Outbox
real = Outbox._deliver
async def deliver(self, notice):
    await self._on_disk(lambda: self._store.put_notices((notice.sent(),)))
    return await real(self, notice)
Outbox._deliver = deliver
"""
SENT_ANEW: Final = """
import pathlib, sqlite3, sys
path = pathlib.Path(sys.argv[3], "state", "capital_governor.sqlite3")
if path.exists():
    with sqlite3.connect(path) as db:
        db.execute("UPDATE notices SET state = 'pending'")
    db.close()
"""
REFUSED_IS_LATE: Final = """
from capital_governor.adapters import telegram
from capital_governor.service import outbox
outbox.FIRST_WAIT_SECONDS = 0.05
answered = telegram.Telegram._answered
def late(self, error):
    found = answered(self, error)
    return outbox.Retry(found.detail) if isinstance(found, outbox.Refused) else found
telegram.Telegram._answered = late
"""


class Kill(Enum):
    """When a governor is killed."""

    SOMETIME = auto()
    BEFORE_TAKEN = auto()
    """Telegram has the request, and the chat does not show it."""
    AFTER_TAKEN = auto()
    """The chat shows it, and the governor has not heard so."""


@dataclass(frozen=True, slots=True)
class Told:
    """Moves published, and how many of their texts the chat never showed or showed once too often."""

    moves: int
    lost: int
    doubled: int


def told_despite(root: Path, kills: Sequence[Kill], prelude: str = "") -> Told:
    """Kill a governor whose every cycle is a move, each time as said, then let the last one tell what is left."""
    root.mkdir()
    dice = random.Random(11)  # noqa: S311 - moments, not secrets
    with Dashboard(moving()) as dashboard, BotApi() as api:
        configure(root, api)
        for kill in kills:
            with Daemon(root, dashboard.url, interval=0.05, prelude=prelude) as daemon:
                if kill is Kill.SOMETIME:
                    daemon.says("Reallocation triggered")
                    try:
                        daemon.process.wait(dice.uniform(0.0, 1.0))
                    except subprocess.TimeoutExpired:
                        daemon.process.kill()
                else:
                    api.next(ok, then(daemon.process.kill, take=kill is Kill.AFTER_TAKEN), ok)
                assert daemon.process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        api.next(ok)
        dashboard.next(DOWN)
        with Daemon(root, dashboard.url, interval=0.5, prelude=prelude) as daemon:
            daemon.says("Meta-metrics not fetched")
            wait_until(lambda: pending(root) == 0)
            daemon.end()
        published, written = moves_told(root)
        told = Counter(text for text in api.taken if text.startswith(FIRST))
    lost, doubled = Counter(written) - told, told - Counter(written)
    assert published >= len(kills), "hardly anything was to be told"
    require(published == len(written), f"{published} moves, {len(written)} put down to be told")
    require(not lost, f"{lost.total()} of {published} moves never told")
    require(doubled.total() <= len(kills), f"{doubled.total()} moves told twice after {len(kills)} kills")
    return Told(published, lost.total(), doubled.total())


def test_p09_each_move_is_told_though_the_governor_is_killed(promise: Account, tmp_path: Path) -> None:
    """Killed at random moments and between sending and noting it, each move arrives; no more doubles than kills."""
    kills = [Kill.SOMETIME, Kill.AFTER_TAKEN, Kill.SOMETIME, Kill.BEFORE_TAKEN, Kill.SOMETIME, Kill.AFTER_TAKEN]
    told = told_despite(tmp_path / "root", kills)
    assert told.doubled >= kills.count(Kill.AFTER_TAKEN), "no kill came between sending and noting"
    promise.figure(f"{told.moves} moves, {len(kills)} kills: lost {told.lost}, doubled {told.doubled}")
    with promise.mutant("noted before it is sent"):
        told_despite(tmp_path / "noted", [Kill.BEFORE_TAKEN], NOTED_FIRST)
    with promise.mutant("a start sends what was sent"):
        told_despite(tmp_path / "anew", [Kill.AFTER_TAKEN], SENT_ANEW)


def asked_once_each(root: Path, prelude: str = "") -> int:
    """Refuse the first notices in each way there is; return the requests, of which each notice has to be one."""
    root.mkdir()
    with Dashboard(moving()) as dashboard, BotApi(*map(refuse, REFUSALS), ok) as api:
        configure(root, api)
        with Daemon(root, dashboard.url, interval=0.1, prelude=prelude) as daemon:
            api.wait_for(3)
            dashboard.next(DOWN)
            wait_until(lambda: pending(root) == 0)
            daemon.end()
        requests = len(api.asked)
    # A message that was under way at the end is a request too, and is still pending.
    with reading(root) as journal:
        ((settled,),) = journal._db.rows("SELECT count(*) FROM notices WHERE state <> 'pending'")
        backlog = journal.backlog()
    require(
        requests - settled in range(backlog.pending + 1), f"{requests} requests for {settled} notices told or refused"
    )
    require(backlog.refused == len(REFUSALS), f"{backlog.refused} of {len(REFUSALS)} refusals on record")
    return requests


def test_p09_a_refusal_is_not_tried_again(promise: Account, tmp_path: Path) -> None:
    """What Telegram refuses with 400, 401, 403 or 404 is asked once, put on record, and is in no other's way."""
    requests = asked_once_each(tmp_path / "root")
    codes = ", ".join(map(str, REFUSALS))
    promise.figure(f"{requests} requests, the first {len(REFUSALS)} refused with {codes}: each notice asked once")
    with promise.mutant("a refusal is a delay"):
        asked_once_each(tmp_path / "late", REFUSED_IS_LATE)
