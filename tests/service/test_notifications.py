"""What the operator is told by message: each move at least once, each episode once, and no secret."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import pytest
import structlog

from capital_governor.adapters import logs
from capital_governor.core.model import Inputs, Rules, State
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision
from capital_governor.journal.notices import Backlog
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.service.governor import Governor, open_governor
from capital_governor.settings.load import load
from capital_governor.wording.log_events import log_text
from tests.rigs.bot_api import TOKEN, Answer, BotApi, bad_gateway, hang, ok, refuse, then
from tests.rigs.builders import FLEET as FIXED
from tests.rigs.commands import start
from tests.rigs.cycle_rig import PLAIN_ENVIRONMENT, CycleRig
from tests.rigs.daemon import FIRST, Daemon, configure, moves_told, pending
from tests.rigs.dashboard import DOWN, FLEET, Dashboard, fresh, moving, record
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.preludes import PATIENT_END
from tests.rigs.raw_server import Script
from tests.rigs.relays import NAME, Proxy

SECRET: Final = TOKEN.partition(":")[2]
SWAPPED: Final = {"SmartTrader": record(winrate=0.1), "DropshipAgent": record(winrate=0.9)}


def alerts(texts: list[str]) -> list[str]:
    """What is no reallocation: icon and first sentence, without fleet, time and lengths of time."""
    found = [text.splitlines() for text in texts if not text.startswith(FIRST)]
    return [
        f"{lines[0].split()[0]} {re.split('[:.(]| after | for (?:more than )?[0-9]', lines[1])[0].strip()}"
        for lines in found
    ]


# --- in process, tick by tick -----------------------------------------------------------------------------------------


class Run:
    """A governor with its outbox, tick by tick, that can be started anew on the same root."""

    def __init__(self, root: Path, dashboard: Dashboard, api: BotApi, delay_minutes: float = 0.0, **more: str) -> None:
        self.root = root
        delays = ("UNREACHABLE", "ERROR", "STALE", "AGENT")
        at_once = {f"CAPITAL_GOVERNOR_ALERT_{name}": str(delay_minutes) for name in delays}
        own = {"NEOLIGHT_DASHBOARD_URL": dashboard.url} | api.environment | at_once
        self.settings = load(root, PLAIN_ENVIRONMENT | own | more)
        self.api = api
        self.log = io.StringIO()
        secrets = self.settings.secrets()
        self.sink = logs.configure(
            level="INFO", fmt="console", words=log_text, secrets=secrets, stream=self.log, color=False
        )
        self._loop = asyncio.new_event_loop()
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        root = logging.getLogger()
        for handler in [handler for handler in root.handlers if isinstance(handler, logs.Bridge)]:
            root.removeHandler(handler)
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self._loop.run_until_complete(self.governor.guarded_tick())

    def told(self) -> list[str]:
        """What the chat shows once nothing is pending."""

        async def until_quiet() -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await self.governor._on_disk(self.governor._journal.backlog) != Backlog():  # noqa: ASYNC110 - no event tells
                    await asyncio.sleep(0.01)

        self._loop.run_until_complete(until_quiet())
        return list(self.api.taken)

    def restart(self, *, later_by_seconds: float = 0.0) -> None:
        """End and start again, once nothing is on its way: what is would be sent twice, as it may.

        With ``later_by_seconds`` all that the journal has is so much older then.
        """
        self.told()
        self._end()
        with closing(sqlite3.connect(self.settings.journal_path)) as db, db:
            db.execute("UPDATE cycles SET at = at - ?", (later_by_seconds,))
            db.execute("UPDATE notices SET created_at = created_at - ?", (later_by_seconds,))
        self._begin()

    def _begin(self) -> None:
        async def begin() -> Governor:
            governor = await open_governor(self.settings, self.sink)
            governor.start()
            return governor

        self.governor = self._loop.run_until_complete(begin())

    def _end(self) -> None:
        self._loop.run_until_complete(self.governor.close())


@pytest.fixture
def run(root: Path, dashboard: Dashboard, api: BotApi) -> Iterator[Run]:
    with Run(root, dashboard, api) as made:
        yield made


def test_a_move_is_told_and_a_stay_is_not(run: Run, dashboard: Dashboard) -> None:
    """Each reallocation is one message, and cycles that change nothing are none."""
    dashboard.next(fresh(SWAPPED, risk=0.8))
    run.tick(3)
    dashboard.next(fresh({agent: record(winrate=0.5) for agent in SWAPPED}, risk=0.4))
    run.tick(2)
    first, second = run.told()
    assert first.splitlines()[:-2] == [
        "🎯 Capital Reallocation:",
        "DropshipAgent: 32.0%",
        "SmartTrader: 32.0%",
        "Reserve: 36.0%",
        "First allocation: nothing was published before. Deployed 64 %.",
        "Exposure is 80 %: market SIDEWAYS (risk 0.8).",
    ]
    assert second.splitlines()[:-2] == [
        "🎯 Capital Reallocation:",
        "DropshipAgent: 16.0% (was 32.0%)",
        "SmartTrader: 16.0% (was 32.0%)",
        "Reserve: 68.0% (was 36.0%)",
        "Risk cut: market SIDEWAYS (risk 0.4). Deployed 64 -> 32 %. Each share halved.",
    ]
    assert run.log.getvalue().count("Telegram notification sent") == 2


def halved(count: int) -> Script:
    return fresh(dict(list(FLEET.items())[:count]))


EPISODES: Final[dict[str, tuple[Script, str, str]]] = {
    "no metrics": (DOWN, "⚠️ The dashboard has answered with errors", "✅ Usable metrics again"),
    "a pause": (fresh(paused=True), "⚠️ Guardian paused", "✅ Guardian's pause ended"),
    "guardian lost": (
        fresh(change=lambda said: said.pop("guardian")),
        "⚠️ The dashboard no longer sends Guardian's data",
        "✅ Guardian's data are back",
    ),
    "time stamp lost": (
        fresh(change=lambda said: said.pop("timestamp")),
        "⚠️ The dashboard no longer sends the time of its metrics",
        "✅ The metrics have their time stamp again",
    ),
    "no agents": (fresh({}), "⚠️ The dashboard sends no agents", "✅ Agents report again"),
    "most agents faulty": (
        fresh({agent: {} for agent in FLEET}),
        "⚠️ Most agents send faulty records",
        "✅ Most records are good again",
    ),
    "members gone": (
        halved(1),
        "⚠️ DropshipAgent, RangeTrader, ScoutBot",
        "✅ The silent agents report again",
    ),
    "a silent agent": (halved(3), "⚠️ ScoutBot", "✅ ScoutBot reports well again"),
}


@pytest.mark.parametrize("name", ["no metrics", "a silent agent"])
def test_the_delay_of_an_alert_goes_on_over_restarts(root: Path, dashboard: Dashboard, api: BotApi, name: str) -> None:
    """Restarted 10 minutes after it began, an episode is told 5 minutes later, once; its end has its whole length."""
    script, begins, ends = EPISODES[name]
    with Run(root, dashboard, api, delay_minutes=15, CAPITAL_GOVERNOR_MEMBERSHIP_GRACE="9") as run:
        run.tick()
        dashboard.next(script)
        run.tick()
        run.restart(later_by_seconds=600)
        run.tick(2)
        assert not alerts(run.told())
        run.restart(later_by_seconds=300)
        run.tick(2)
        assert alerts(run.told()) == [begins]
        assert "for 15 min" in run.told()[-1].splitlines()[1]
        run.restart(later_by_seconds=300)
        run.tick()
        dashboard.next(fresh())
        run.tick()
        assert alerts(run.told()) == [begins, ends]
        assert "after 20 min" in run.told()[-1].splitlines()[1]


@pytest.mark.parametrize("name", EPISODES)
def test_an_episode_is_told_at_both_ends_once_also_over_restarts(run: Run, dashboard: Dashboard, name: str) -> None:
    """However many cycles and restarts an episode lasts, its beginning is one message and its end another."""
    script, begins, ends = EPISODES[name]
    run.tick()
    dashboard.next(script)
    run.tick()
    assert alerts(run.told()) == [begins]
    run.restart()
    run.tick(2)
    assert alerts(run.told()) == [begins]
    dashboard.next(fresh())
    run.restart()
    run.tick(2)
    assert alerts(run.told()) == [begins, ends]
    dashboard.next(script)
    run.tick()
    assert alerts(run.told()) == [begins, ends, begins]


@pytest.mark.parametrize(
    ("missing", "cycles", "topic", "says"),
    [
        (1, 4, "lapsed", "⚠️ Lapsed, silent"),
        (3, 1, "members_gone", EPISODES["members gone"][1]),
    ],
)
def test_what_lasts_is_told_daily_however_often_the_governor_is_restarted(
    run: Run, dashboard: Dashboard, missing: int, cycles: int, topic: str, says: str
) -> None:
    """A day after the last message of an episode the next one is due, also in a process that has sent none of it."""
    run.tick()
    dashboard.next(halved(len(FLEET) - missing))
    run.tick(cycles)
    for messages in (1, 2, 3):
        for _ in range(2):
            run.restart()
            run.tick()
        assert [text for text in alerts(run.told()) if text == says] == [says] * messages
        journal = sqlite3.connect(run.settings.journal_path, isolation_level=None)
        journal.execute("UPDATE notices SET created_at = created_at - 86400 WHERE topic = ?", [topic])
        journal.close()


def test_an_operators_hold_is_told_once_and_so_is_its_end(run: Run, dashboard: Dashboard, root: Path) -> None:
    """However long it lasts and however often the governor is started anew, one alert each, with author and command."""
    del dashboard
    given = Order(key="k", kind=OrderKind.HOLD, author="anna", given_at=time.time(), reason="broker migration")
    run.tick()
    before = len(run.told())
    put(root, given)
    run.tick(3)
    run.restart()
    run.tick(2)
    (told,) = run.told()[before:]
    assert told.splitlines()[1:-1] == [
        "anna holds all shares: broker migration.",
        "Shares stay as they are: 100 % deployed, 0 % in reserve.",
        "No action needed. It ends when a person lifts it:",
    ]
    assert told.splitlines()[-1].endswith(f"neo_light_fix.sh resume --root {root}")
    put(root, given.ended(time.time(), OrderEnd.TAKEN_BACK, "bert"))
    run.tick(2)
    run.restart()
    run.tick()
    assert alerts(run.told()[before + 1 :]) == ["✅ anna's hold was lifted by bert"]


def put(root: Path, order: Order) -> None:
    """Put an order into the journal as another process does."""
    journal = open_sqlite(root / "state" / "capital_governor.sqlite3")
    journal.put_orders([order])
    journal.close()


def test_a_hold_that_comes_and_goes_behind_others_is_one_episode(run: Run, dashboard: Dashboard) -> None:
    """A dashboard that fails in between does not make a second episode of a hold that never was over."""
    run.tick()
    for script in (halved(1), DOWN, halved(1), DOWN, halved(1)):
        dashboard.next(script)
        run.tick()
    dashboard.next(fresh())
    run.tick()
    told = run.told()
    assert [text for text in alerts(told) if "etrics" not in text and "answered" not in text] == [
        EPISODES["members gone"][1],
        EPISODES["members gone"][2],
    ]
    assert alerts(told)[-1] == "✅ The silent agents report again"


def test_a_refusal_of_the_gate_is_told_once(run: Run, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the gate refuses is no move, and one message for as long as it refuses."""
    run.tick()

    def refusing(decision: Decision, _inputs: Inputs, _state: State, _rules: Rules) -> Reason | None:
        return Reason.GATE_SUM if decision.proposal is not None else None

    monkeypatch.setattr("capital_governor.service.cycle.gate", refusing)
    dashboard.next(fresh({**FLEET, "SmartTrader": record(winrate=0.01), "ScoutBot": record(winrate=0.99)}))
    run.tick(3)
    assert alerts(run.told()) == ["⚠️ A wrong decision was stopped before it was published"]
    monkeypatch.undo()
    run.tick()
    told = run.told()
    assert "✅ Decisions pass their last check again" in alerts(told)
    assert sum(text.startswith(FIRST) for text in told) == 2


def test_files_that_cannot_be_written_are_told_once(run: Run) -> None:
    """A folder in the place of a file is one message, also over a restart, and so is its end."""
    run.tick()
    primary = run.root / "runtime" / "capital_governor_allocations.json"
    primary.unlink()
    primary.mkdir()
    run.tick(2)
    run.restart()
    run.tick(2)
    (told,) = [text for text in run.told() if not text.startswith(FIRST)]
    assert str(primary) in told
    primary.rmdir()
    run.tick(2)
    assert alerts(run.told())[1:] == ["✅ Both allocation files can be written again"]


def test_files_that_can_never_be_written_from_the_start_are_told(run: Run) -> None:
    """Where nothing could be published yet, the operator is told too."""
    (run.root / "runtime").mkdir()
    (run.root / "runtime" / "allocations_override.json").mkdir()
    run.tick(2)
    assert len(run.told()) == 1


def test_another_writer_is_told_once(run: Run) -> None:
    """A rival that rewrites the override before each cycle is one message, also over a restart."""
    run.tick()
    for number in range(4):
        (run.root / "runtime" / "allocations_override.json").write_text('{"allocations": {}, "source": "rl_inference"}')
        run.tick()
        if number == 1:
            run.restart()
    assert alerts(run.told()) == ["⚠️ Another program"]


def test_an_unexpected_error_is_told_at_both_ends_once_also_over_a_restart(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the program is one message without secrets for as long as it lasts, and its end another."""
    run.tick()

    def broken(_: bytes) -> object:
        raise KeyError(f"/bot{TOKEN}/x")

    for restarted in (False, True):
        monkeypatch.setattr("capital_governor.service.cycle.parse", broken)
        run.tick(3)
        if restarted:
            run.restart()
            run.tick(2)
        (told,) = run.told()[1 + 2 * restarted :]
        assert told.splitlines()[1] == "The governor could not finish a cycle."
        assert TOKEN not in told
        monkeypatch.undo()
        run.tick(3)
        assert alerts(run.told())[2 * restarted + 1 :] == ["✅ The governor finishes its cycles again"]
    assert run.log.getvalue().count("Traceback") == 8


def test_an_error_before_the_first_cycle_is_told_once_over_restarts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that cannot take up where the last run ended alarms once, and says when it could after all."""

    def broken(_: object) -> str:
        raise ValueError("no")

    monkeypatch.setattr("capital_governor.service.cycle.Cycle.recover", broken)
    for _ in range(3):
        run.tick(2)
        run.restart()
    assert alerts(run.told()) == ["⚠️ The governor could not finish a cycle"]
    monkeypatch.undo()
    run.tick(2)
    assert alerts(run.told())[1:] == ["✅ The governor finishes its cycles again"]


def test_messages_that_cannot_be_put_down_fail_no_cycle_and_are_told_later(
    run: Run, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in telling is logged, the cycle stands, and what it had to tell goes out with the next one."""
    run.tick()
    run.told()  # the outbox has nothing to put down while that fails

    def broken(*_: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr("capital_governor.journal.fallback.ResilientJournal.put_notices", broken)
    dashboard.next(fresh(paused=True))
    run.tick(2)
    assert "What is to be told by message could not be put down" in run.log.getvalue()
    assert "Unexpected error" not in run.log.getvalue()
    monkeypatch.undo()
    run.tick()
    assert alerts(run.told()) == ["⚠️ Guardian paused"]


def test_a_lost_journal_is_told_while_it_is_lost(run: Run, dashboard: Dashboard) -> None:
    """Moves and the loss itself are delivered from memory, and what was sent is not sent again afterwards."""
    run.tick()
    assert len(run.told()) == 1
    run.settings.journal_path.unlink()
    dashboard.next(fresh(SWAPPED | {"ScoutBot": record(winrate=0.9), "RangeTrader": record(winrate=0.1)}))
    run.tick()
    during = run.told()
    assert run.governor._journal.lost
    assert during[1].startswith(FIRST)
    assert alerts(during) == ["⚠️ The journal cannot be written"]
    run.tick(2)
    run.restart()
    run.tick()
    assert alerts(run.told()) == [*alerts(during), "✅ The journal can be written again"]
    assert len(run.told()) == 4


def test_an_alert_has_no_secret(run: Run, dashboard: Dashboard) -> None:
    """What another program says with the token in it is told without."""
    run.tick()
    dashboard.next(fresh(paused=True, said=f"see /bot{TOKEN}/x"))
    run.tick()
    assert "see /bot********/x" in run.told()[-1]
    assert SECRET not in "".join(run.told())


def test_dead_letters_are_in_the_status_file_at_once(run: Run, api: BotApi) -> None:
    """What Telegram refuses for good is counted there with the last reason, without waiting for the next cycle."""
    api.next(refuse(403, "Forbidden: bot was kicked"), ok)
    run.tick()
    status_file = run.root / "runtime" / "capital_governor_status.json"

    async def until_refused() -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (said := json.loads(status_file.read_bytes()))["notices_refused"]:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
        found: dict[str, Any] = said
        return found

    said = run._loop.run_until_complete(until_refused())
    assert (said["notices_pending"], said["notices_refused"]) == (0, 1)
    assert "bot was kicked: check TELEGRAM_CHAT_ID" in said["notices_refused_detail"]
    assert api.taken == []
    assert len(api.asked) == 1


# --- a process --------------------------------------------------------------------------------------------------------


def test_an_outage_of_telegram_stops_no_cycle_and_ends_by_itself(root: Path, dashboard: Dashboard, api: BotApi) -> None:
    """While Telegram hangs, breaks off and errs, moves go on; afterwards each is told once, in order."""
    configure(root, api)
    enough = threading.Event()
    api.next(then(lambda: enough.wait(PATIENCE_SECONDS), take=False))
    dashboard.next(moving())
    with Daemon(root, dashboard.url, interval=0.1) as daemon:
        api.wait_asked(1)
        asked = len(dashboard.asked)
        dashboard.wait_for(asked + 20)  # while the first request still hangs
        assert api.taken == []
        api.next(bad_gateway, ok)
        enough.set()
        dashboard.next(DOWN)
        wait_until(lambda: pending(root) == 0)
        daemon.end()
    published, written = moves_told(root)
    assert published > 20
    assert [text for text in api.taken if text.startswith(FIRST)] == written
    log = daemon.log.read_text()
    assert log.count("Telegram notification delayed, trying again in 2 s") == 1
    assert log.count("Telegram notification sent") == len(api.taken)
    assert "Traceback" not in log


def test_the_end_does_not_wait_for_telegram(root: Path, dashboard: Dashboard, api: BotApi) -> None:
    """With a message on its way to a server that hangs, SIGTERM is an exit with 0."""
    configure(root, api)
    api.next(hang)
    with Daemon(root, dashboard.url, prelude=PATIENT_END) as daemon:
        api.wait_asked(1)
        daemon.end()
        assert api.gave_up == 0
        assert daemon.status()["state"] == "ended"
        assert daemon.status()["notices_pending"] == 1
        assert "Traceback" not in daemon.log.read_text()


def test_the_digest_of_a_day_arrives_once_however_often_the_governor_is_started(
    root: Path, dashboard: Dashboard, api: BotApi
) -> None:
    """A process that was down at the hour tells as soon as it governs again, and its successors do not."""
    with CycleRig(root) as rig:
        rig.now = time.time() - 20 * 3_600
        rig.see(FIXED)
    configure(root, api)
    dashboard.next(fresh({agent: record(winrate=score) for agent, score in FIXED.items()}))
    plain: dict[str, Any] = {name.removeprefix("CAPITAL_GOVERNOR_"): value for name, value in PLAIN_ENVIRONMENT.items()}
    hour = datetime.now(UTC).hour
    for _ in range(3):
        with Daemon(root, dashboard.url, interval=0.2, DIGEST_HOUR=str(hour), **plain) as daemon:
            daemon.says("No reallocation needed", daemon.log.read_text().count("No reallocation needed") + 3)
            wait_until(lambda: pending(root) == 0)
            daemon.end()
    (told,) = api.taken
    assert told.splitlines()[1:] == [
        "Alive, and governing.",
        "Shares: Ada 40 %, Bob 36 %, Cyd 24 %.",
        "Deployed 100 %, reserve 0 % (generation 1).",
        "Exposure 100 %: nothing reduces it.",
        "In 24 h: 1 move.",
        "Holds: none.",
        "Faulty or silent: none.",
        "No action needed.",
    ]


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (ok, 0, "test message sent"),
        (bad_gateway, 75, "Bad Gateway (502)"),
        (refuse(401), 78, "no such bot: check TELEGRAM_BOT_TOKEN"),
    ],
)
def test_a_check_sends_a_test_message(
    root: Path, dashboard: Dashboard, api: BotApi, answer: Answer, code: int, says: str
) -> None:
    """``check --notify`` says what came of a test message, and exits with 75 or 78 where it did not arrive."""
    configure(root, api)
    api.next(answer)
    done = start(root, "check", "--notify", "--json", url=dashboard.url)
    assert done.code == code, done.err
    document = json.loads(done.out)
    assert says in document["telegram"]
    assert document["ok"] == (code == 0)
    assert len(api.taken) == (code == 0)
    assert SECRET not in done.out + done.err


def test_a_proxy_that_cannot_be_used_is_told_everywhere(
    root: Path, dashboard: Dashboard, api: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence with the remedy is in log, status file, `status` and `check --notify`; the governor goes on.

    The messages wait, and come when the environment is right.
    """
    configure(root, api)
    with (root / ".env").open("a") as env:
        env.write(f"TELEGRAM_API_BASE_URL=http://{NAME}/bot\n")
    wrong = {"ALL_PROXY": f"socks4://user:{SECRET}@127.0.0.1:9"}
    monkeypatch.setenv("ALL_PROXY", wrong["ALL_PROXY"])
    sentence = (
        "ALL_PROXY=socks4://127.0.0.1:9 is a proxy of a kind that is not known here: use one of http://, https://"
    )
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        delayed = f"Telegram notification delayed, trying again in 2 s: {sentence}"
        wait_until(lambda: delayed in daemon.log.read_text())
        wait_until(lambda: daemon.status()["notices_pending_detail"])
        daemon.end()
    said = [start(root, *words, url=dashboard.url, env=wrong).out for words in (("status",), ("check", "--notify"))]
    assert f"telegram   1 message waiting: {sentence}" in " ".join(said[0].split("\n"))
    assert f"telegram   {sentence}" in " ".join(said[1].split("\n"))
    assert SECRET not in daemon.log.read_text() + "".join(said) + json.dumps(daemon.status())
    with Proxy(api) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with Daemon(root, dashboard.url, interval=0.2) as daemon:
            api.wait_for(1)
            wait_until(lambda: pending(root) == 0)
            daemon.end()
    assert len(api.taken) == 1


def test_a_check_without_telegram_says_what_to_set(root: Path, dashboard: Dashboard) -> None:
    """Where no bot is set up ``check --notify`` names the two settings, and without ``--notify`` nothing is asked."""
    done = start(root, "check", "--notify", url=dashboard.url)
    assert done.code == 78
    assert "telegram   not set up: set TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID" in done.out
    assert start(root, "check", url=dashboard.url).code == 0


def test_a_single_cycle_tells_of_its_move(root: Path, dashboard: Dashboard, api: BotApi) -> None:
    """``once`` delivers before it ends, and ``once --dry-run`` tells nobody anything."""
    configure(root, api)
    assert start(root, "once", "--dry-run", url=dashboard.url).code == 0
    assert api.asked == []
    assert start(root, "once", url=dashboard.url).code == 0
    assert len(api.taken) == 1
    assert pending(root) == 0


def test_a_dry_run_tells_nobody(root: Path, dashboard: Dashboard, api: BotApi) -> None:
    """A governor in a dry run publishes elsewhere, and sends nothing."""
    configure(root, api)
    with Daemon(root, dashboard.url, "--dry-run", interval=0.2) as daemon:
        daemon.says("No reallocation needed", 2)
        daemon.end()
    assert "Telegram is set up: a dry run sends nothing" in daemon.log.read_text()
    assert api.asked == []
