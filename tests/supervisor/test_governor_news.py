"""What the phone shows when the governor under neo_light_fix.sh ends, gives up, and is back."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3

import pytest

from tests.rigs.bot_api import TOKEN, BotApi, bad_gateway, ok
from tests.rigs.daemon import configure, reading
from tests.rigs.dashboard import Dashboard
from tests.rigs.patience import wait_until
from tests.rigs.supervised import Site


@pytest.fixture(autouse=True)
def real_governor(site: Site, dashboard: Dashboard) -> None:
    site.govern(None)
    site.settings |= {"NEOLIGHT_DASHBOARD_URL": dashboard.url, "CAPITAL_GOVERNOR_INTERVAL": "0.5"}


def about_it(api: BotApi) -> list[str]:
    """Return the messages about the governor itself, without those of its cycles."""
    return [text for text in list(api.taken) if "The governor " in text]


def stored(site: Site) -> list[tuple[str, str]]:
    with reading(site.root) as journal:
        return journal._db.rows("SELECT text, state FROM notices WHERE key LIKE 'governor-%' ORDER BY id")


def test_a_governor_that_was_killed(site: Site, api: BotApi) -> None:
    """One message with cause, shares, and when it is started again; one when it governs again. Both are stored."""
    configure(site.root, api, CAPITAL_GOVERNOR_NAME="night fleet")
    site.run("start")
    wait_until(lambda: "Allocations saved" in site.log("capital_governor"))
    os.kill(site.pid("capital_governor"), signal.SIGKILL)
    wait_until(lambda: len(about_it(api)) == 2)
    site.run("stop")
    ended, back = sorted(about_it(api), key=lambda text: "is back" in text)
    assert re.match(
        r"⚠️ night fleet · \d{4}-\d\d-\d\d \d\d:\d\d UTC\n"
        r"The governor ended \(killed, exit 137: often out of memory\)\.\n",
        ended,
    )
    assert re.search(r"\nShares stay as they are: [0-9.]+ % deployed, [0-9.]+ % in reserve\. ", ended)
    assert re.search(r"\nIf it is not back by \d\d:\d\d UTC, agents count it as dead and use their fallback\.\n", ended)
    assert "It is started again in 0.2 s, with a message when it is back.\n" in ended
    assert ended.endswith(f"\nNEOLIGHT_ROOT='{site.root}' '{site.project}/neo_light_fix.sh' logs capital_governor")
    assert re.match(
        r"✅ night fleet · .* UTC\nThe governor is back after [0-9]+ (s|min): it has completed a cycle\.\n"
        r"It had ended at \d\d:\d\d UTC \(killed, ",
        back,
    )
    assert sorted(stored(site)) == sorted([(ended, "sent"), (back, "sent")])
    assert not (site.root / "runtime/capital_governor_end.json").exists()


def test_a_governor_that_gave_up(site: Site, api: BotApi) -> None:
    """Once, with its own words and what to type; and once more when it governs again under the next supervisor."""
    configure(site.root, api)
    site.run("start")
    wait_until(lambda: "Allocations saved" in site.log("capital_governor"))
    site.run("stop")
    assert about_it(api) == []
    configure(site.root, api, CAPITAL_GOVERNOR_MAX_ALLOC="7")
    site.run("start")
    wait_until(lambda: about_it(api))
    assert site.run("status").code == 78
    configure(site.root, api)
    assert site.run("restart", "capital_governor").code == 0
    wait_until(lambda: len(about_it(api)) == 2)
    site.run("stop")
    gave_up, back = about_it(api)
    assert re.match(
        r"🛑 .* UTC\nThe governor gave up \(exit 78: a person must act\)\. It is not started again by itself\.\n",
        gave_up,
    )
    assert "Its last line: " in gave_up
    assert "CAPITAL_GOVERNOR_MAX_ALLOC" in gave_up
    assert f"'{site.project}/neo_light_fix.sh' restart capital_governor" in gave_up
    assert back.splitlines()[1].startswith("The governor is back after ")
    assert [state for _, state in stored(site)] == ["sent", "sent"]


def test_a_governor_whose_journal_cannot_be_opened(site: Site, api: BotApi) -> None:
    """The message goes directly, and the other program's database stays as it is."""
    configure(site.root, api, CAPITAL_GOVERNOR_JOURNAL="foreign.sqlite3")
    with contextlib.closing(sqlite3.connect(site.root / "foreign.sqlite3")) as db:
        db.execute("CREATE TABLE theirs (a)")
        db.commit()
    before = (site.root / "foreign.sqlite3").read_bytes()
    site.run("start")
    wait_until(lambda: "told the operator" in site.log("neo_light_fix"))
    site.run("stop")
    (gave_up,) = about_it(api)
    assert "is the database of another program" in gave_up
    assert (site.root / "foreign.sqlite3").read_bytes() == before


def test_a_crash_loop_is_told_once(site: Site, api: BotApi) -> None:
    """While it is not back, further ends are no news, except that it gave up."""
    configure(site.root, api)
    site.govern("n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) >n; ((n < 4)) && exit 1; exit 78")
    site.run("start")
    wait_until(lambda: "capital_governor gave up" in site.log("neo_light_fix"))
    wait_until(lambda: site.log("neo_light_fix").count("told the operator") == 2)
    site.run("stop")
    first, last = sorted(about_it(api), key=lambda text: "gave up" in text)
    assert first.splitlines()[1] == "The governor ended (exit 1: an error)."
    assert last.splitlines()[1].startswith("The governor gave up ")


def test_what_cannot_be_sent_is_sent_by_the_next_governor(site: Site, api: BotApi) -> None:
    """With Telegram down it waits in the journal, also beyond the supervisor's end, and is sent once."""
    configure(site.root, api)
    site.run("start")
    wait_until(lambda: "Allocations saved" in site.log("capital_governor"))
    wait_until(lambda: len(api.taken) == 1)
    site.run("stop")
    api.next(bad_gateway)
    configure(site.root, api, CAPITAL_GOVERNOR_MAX_ALLOC="7")
    site.run("start")
    wait_until(lambda: "cannot be sent yet" in site.log("neo_light_fix"))
    assert TOKEN not in site.log("neo_light_fix")
    site.run("stop")
    assert site.processes() == {}
    ((text, state),) = stored(site)
    assert (text.splitlines()[1].split("(")[0], state) == ("The governor gave up ", "pending")
    api.next(ok)
    configure(site.root, api)
    site.run("start")
    wait_until(lambda: len(about_it(api)) == 2)
    site.run("stop")
    assert about_it(api)[0] == text
    assert [state for _, state in stored(site)] == ["sent", "sent"]


def test_what_the_operator_ends_is_no_news(site: Site, api: BotApi) -> None:
    """Neither stop nor either restart sends anything."""
    configure(site.root, api)
    site.run("start")
    wait_until(lambda: "Allocations saved" in site.log("capital_governor"))
    assert site.run("restart", "capital_governor").code == 0
    wait_until(lambda: site.log("capital_governor").count("Start: ") == 2)
    assert site.run("restart").code == 0
    wait_until(lambda: site.log("capital_governor").count("Start: ") == 3)
    site.run("stop")
    assert about_it(api) == []
    assert not (site.root / "runtime/capital_governor_end.json").exists()


def test_without_telegram_nobody_is_told(site: Site) -> None:
    """The governor is started again as ever, and a later one with Telegram does not tell of the old end."""
    site.run("start")
    wait_until(lambda: "Allocations saved" in site.log("capital_governor"))
    os.kill(site.pid("capital_governor"), signal.SIGKILL)
    wait_until(lambda: site.log("capital_governor").count("Start: ") == 2)
    wait_until(lambda: not (site.root / "runtime/capital_governor_end.json").exists())
    site.run("stop")
    assert "operator" not in site.log("neo_light_fix")


def test_a_supervisor_that_was_killed(site: Site, api: BotApi) -> None:
    """Nobody can tell then; the governor of the next start does, once, since when it was gone."""
    configure(site.root, api)
    site.run("start")
    wait_until(lambda: "Allocations saved" in site.log("capital_governor"))
    os.kill(site.supervisors()[0], signal.SIGKILL)
    wait_until(lambda: site.processes() == {})
    assert about_it(api) == []
    site.run("start")
    wait_until(lambda: about_it(api))
    site.run("restart")
    wait_until(lambda: site.log("capital_governor").count("Start: ") == 3)
    site.run("stop")
    (back,) = about_it(api)
    assert re.search(
        r"\nThe governor is back after [0-9]+ (s|min): it has completed a cycle\.\n"
        r"It was last seen at \d\d:\d\d UTC \(its supervisor was killed, or the machine went down\)\.\n",
        back,
    )


def test_a_supervisor_that_was_killed_while_a_message_waits(site: Site, api: BotApi) -> None:
    """What its sender could not send is in the journal; the next governor sends it and that it is back, each once."""
    configure(site.root, api)
    site.run("start")
    wait_until(lambda: "Allocations saved" in site.log("capital_governor"))
    wait_until(lambda: len(api.taken) == 1)
    api.next(bad_gateway)
    site.govern("exit 1")
    os.kill(site.pid("capital_governor"), signal.SIGKILL)
    wait_until(lambda: "cannot be sent yet" in site.log("neo_light_fix"))
    os.kill(site.supervisors()[0], signal.SIGKILL)
    wait_until(lambda: site.processes() == {})
    ((ended, state),) = stored(site)
    assert state == "pending"
    api.next(ok)
    site.govern(None)
    site.run("start")
    wait_until(lambda: len(about_it(api)) == 2)
    site.run("stop")
    assert about_it(api)[0] == ended
    assert "The governor is back after " in about_it(api)[1]
    assert [state for _, state in stored(site)] == ["sent", "sent"]


def test_settings_that_cannot_be_read_at_all(site: Site, api: BotApi) -> None:
    """Nobody knows the chat then: the supervisor's log says that, and why."""
    configure(site.root, api)
    with (site.root / ".env").open("ab") as file:
        file.write(b"CAPITAL_GOVERNOR_NAME=\xff\n")
    site.run("start")
    wait_until(lambda: "capital_governor gave up" in site.log("neo_light_fix"))
    wait_until(lambda: "the operator cannot be told that the governor has ended" in site.log("neo_light_fix"))
    site.run("stop")
    (line,) = [line for line in site.log("neo_light_fix").splitlines() if "operator cannot be told" in line]
    assert line.endswith(f"{site.root}/.env is not UTF-8 text; save it as UTF-8")
    assert api.taken == []
