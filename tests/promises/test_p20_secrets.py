"""P20: through every fault, no byte that leaves the process has a secret in it, but for the requests that carry it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest

from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from tests.promises.ledger import Account, require
from tests.rigs.bot_api import TOKEN, Answer, BotApi, malformed, ok, pause, refuse, reset
from tests.rigs.commands import call
from tests.rigs.daemon import Daemon
from tests.rigs.dashboard import Dashboard, fixed, moving
from tests.rigs.raw_server import Script, answer, answer_and_reset, http

pytestmark = pytest.mark.usefixtures("loaded")
SECRET: Final = TOKEN.partition(":")[2]
BEARER: Final = 'CANARY/bearer+of=tests\\and"quotes'
RAISES: Final = f"""
from capital_governor.service.cycle import Cycle
real, count = Cycle.conclude, []
def conclude(self, payload):
    count.append(0)
    if len(count) % 4 == 2:
        raise RuntimeError("https://api.telegram.org/bot{TOKEN}/sendMessage failed")
    return real(self, payload)
Cycle.conclude = conclude
"""
QUICK: Final = """
from capital_governor.service import outbox
outbox.FIRST_WAIT_SECONDS = 0.05
"""
NOTHING_HIDDEN: Final = """
from capital_governor.adapters.redaction import Redaction
Redaction.hide = lambda self, text: text
"""
COMMANDS: Final = (["status"], ["status", "--json"], ["explain"], ["check"], ["check", "--notify"], ["show-config"])
BAD_SETTINGS: Final[tuple[Mapping[str, str], ...]] = (
    {"CAPITAL_GOVERNOR_INTERVAL": TOKEN},
    {"NEOLIGHT_DASHBOARD_URL": f"http://user:{SECRET}@h/"},
    {"TELEGRAM_CHAT_ID": TOKEN},
    {"TELEGRAM_API_BASE_URL": f"http://u:{SECRET}@127.0.0.1/bot"},
    {"TELEGRAM_BOT_TOKEN": f"{TOKEN} "},
    {"CAPITAL_GOVERNOR_OVERRIDE": SECRET},
    {"CAPITAL_GOVERNOR_OVERRIDE": BEARER},
    {"CAPITAL_GOVERNOR_DASHBOARD_TOKEN": f"{BEARER} "},
)


def forms() -> tuple[bytes, ...]:
    """Each secret as it is, and as other programs would write it."""
    return tuple(
        form
        for secret in (SECRET, BEARER)
        for form in (
            secret.encode(),
            quote(secret, safe="").encode(),
            base64.b64encode(secret.encode()),
            repr(secret)[1:-1].encode(),
            json.dumps(secret)[1:-1].encode(),
        )
    )


def run_all_faults(root: Path, prelude: str) -> list[bytes]:
    """Govern at DEBUG through faults of Telegram, the dashboard and the code; return all bytes that came of it."""
    root.mkdir()
    said = []
    failing: list[Script] = [
        moving(),
        fixed(b"", status="500 Broken"),
        answer_and_reset(b"HTTP/1.1 200 OK\r\n"),
        answer(http(b"{", "Location: http://elsewhere/")),
        fixed(b"[]"),
        fixed({"error": f"who is {BEARER}?"}),
        fixed({"error": f"who is {BEARER}?"}, "Content-Type: application/json", status="401 Unauthorized"),
        fixed({"error": f"who is {BEARER}?"}, "Content-Type: application/json", status="500 Broken"),
        moving(),
    ]
    refusals: list[Answer] = [malformed, reset, pause(0), *map(refuse, (400, 401, 403, 404, 500))]
    if prelude:  # a mutant: one refusal that repeats the token is enough
        refusals = refusals[-1:]
    with BotApi(*refusals, ok) as api, Dashboard(*failing * 2, moving()) as dashboard:
        variables = api.environment | {"CAPITAL_GOVERNOR_DASHBOARD_TOKEN": f"'{BEARER}'"}
        (root / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        with Daemon(root, dashboard.url, interval=0.1, prelude=QUICK + RAISES + prelude, LOG_LEVEL="DEBUG") as daemon:
            api.wait_for(1)
            daemon.says("Unexpected error", 2)
            daemon.says("Traceback")
            if not prelude:
                daemon.says("who is ********?", 3)
            daemon.end()
        assert all(f"Authorization: Bearer {BEARER}\r\n".encode() in head for head in dashboard.heads)
        said.append(daemon.log.read_bytes())
        if prelude:
            return said
        said += [shown(root, dashboard.url, *words) for words in COMMANDS]
        for bad in BAD_SETTINGS:
            said.append(shown(root, dashboard.url, "once", more=bad))
            assert said[-1], f"{bad} was accepted in silence"
    return said


def shown(root: Path, url: str, *words: str, more: Mapping[str, str] | None = None) -> bytes:
    """Return all that a command says."""
    ended = call(root, *words, url=url, env=more)
    return (ended.out + ended.err).encode()


def stored(root: Path) -> list[bytes]:
    """All files of the root but .env, and what the journal has under compression."""
    journal = open_sqlite(root / "state" / "capital_governor.sqlite3", read_only=True)
    try:
        unpacked = [repr(entry).encode() for entry in journal.entries("live")]
    finally:
        journal.close()
    assert len(unpacked) > 3
    return [*unpacked, *(path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != ".env")]


def hide_everywhere(root: Path, prelude: str = "") -> int:
    """Return the bytes scanned, none of which may be of the secret."""
    everything = run_all_faults(root, prelude) + stored(root)
    hits = sum(content.count(form) for content in everything for form in set(forms()))
    require(hits == 0, f"the secret appears {hits} times")
    return sum(map(len, everything))


def test_p20_secrets_appear_nowhere(promise: Account, tmp_path: Path) -> None:
    """Two tokens go through faults of Telegram, dashboard, code and settings at DEBUG, and show up nowhere."""
    scanned = hide_everywhere(tmp_path / "root")
    assert SECRET in (tmp_path / "root/.env").read_text()
    assert BEARER in (tmp_path / "root/.env").read_text()
    assert scanned > 50_000
    promise.figure(f"bytes scanned {scanned:,}, hits 0")
    with promise.mutant("nothing hidden in the log"):
        hide_everywhere(tmp_path / "mutant", NOTHING_HIDDEN)
