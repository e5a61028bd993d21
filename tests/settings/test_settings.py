"""Settings: what is accepted, what is refused and in which words, and what never shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capital_governor.core.model import Group, Rules
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.load import Settings, load
from capital_governor.settings.sources import check_root, find_place
from capital_governor.settings.variables import variables

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = Path(__file__).parents[2] / ".env.example"
TOKEN = "123456789:" + "CANARYtoken" * 3 + "12"
DURATION = "or a duration such as 90s, 5m or 2h"
HEARTBEAT = "https://beat.example/ping/CANARY-heartbeat-key"


def own(**values: str) -> dict[str, str]:
    return {f"CAPITAL_GOVERNOR_{name}": value for name, value in values.items()}


def refused(root: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(root, environ)
    assert str(caught.value) == "\n".join(caught.value.faults)
    assert all("\n" not in fault for fault in caught.value.faults)
    return caught.value.faults


def outcome(root: Path, environ: Mapping[str, str]) -> tuple[Settings | None, tuple[str, ...]]:
    try:
        return load(root, environ), ()
    except SettingsError as error:
        return None, error.faults


# --- what is accepted -----------------------------------------------------------------------------------------------


def test_defaults(tmp_path: Path) -> None:
    """Without any source every setting has its documented default."""
    settings = load(tmp_path, {})
    assert settings.masked() == {
        "NEOLIGHT_ROOT": str(tmp_path),
        "NEOLIGHT_DASHBOARD_URL": "http://localhost:8100",
        "TELEGRAM_BOT_TOKEN": "(not set)",
        "TELEGRAM_CHAT_ID": "(not set)",
        "TELEGRAM_TOPIC_ID": "(not set)",
        "TELEGRAM_API_BASE_URL": "https://api.telegram.org/bot",
        **own(
            INTERVAL="300",
            MIN_ALLOC="0.05",
            MAX_ALLOC="0.4",
            MIN_RESERVE="0",
            GROUPS="(not set)",
            THRESHOLD="0.1",
            DERISK_THRESHOLD="0.05",
            TURNOVER_THRESHOLD="0.2",
            COOLDOWN="0",
            CONFIRM_CYCLES="1",
            MAX_STEP="1",
            PROBATION="0",
            MEMBERSHIP_GRACE="3",
            RELEASE_AFTER="never",
            MAX_AGE="900",
            PNL_WEIGHT="0.4",
            SHARPE_WEIGHT="0.3",
            WINRATE_WEIGHT="0.2",
            DRAWDOWN_WEIGHT="0.1",
            PNL_SCALE="10000",
            SHARPE_SCALE="3",
            DRAWDOWN_SCALE="20",
            DRAWDOWN_CUT_START="5",
            DRAWDOWN_CUT_END="15",
            DRAWDOWN_CUT_FLOOR="0.25",
            DASHBOARD_TOKEN="(not set)",  # noqa: S106
            FETCH_DEADLINE="20",
            FETCH_MAX_BYTES="16 MiB",
            OVERRIDE="assert",
            PROFILE="original",
            JOURNAL="state/capital_governor.sqlite3",
            JOURNAL_DAYS="90",
            LOG_FORMAT="console",
            LOG_LEVEL="INFO",
            HEARTBEAT_URL="(not set)",
            DIGEST_HOUR="(not set)",
            NAME="(not set)",
            ALERT_UNREACHABLE="15",
            ALERT_ERROR="15",
            ALERT_STALE="15",
            ALERT_AGENT="10",
            HIVE="0",
            HIVE_CAPITAL="100000",
        ),
    }
    assert settings.rules() == Rules()
    assert settings.journal_path == tmp_path / "state/capital_governor.sqlite3"


def test_every_rule_is_a_setting(tmp_path: Path) -> None:
    """Each rule follows its own variable: a changed value arrives in the rule of that name, and in no other."""
    changed = own(
        MIN_ALLOC="0.01",
        MAX_ALLOC="0.9",
        MIN_RESERVE="0.07",
        GROUPS="crypto=0.5:CryptoTrend,Grid*; sports=0.2:Sports*",
        THRESHOLD="0.11",
        DERISK_THRESHOLD="0.06",
        TURNOVER_THRESHOLD="0.21",
        COOLDOWN="60",
        CONFIRM_CYCLES="2",
        MAX_STEP="0.5",
        PROBATION="7",
        MEMBERSHIP_GRACE="4",
        RELEASE_AFTER="5",
        MAX_AGE="1234.5",
        PNL_WEIGHT="0.1",
        SHARPE_WEIGHT="0.2",
        WINRATE_WEIGHT="0.3",
        DRAWDOWN_WEIGHT="0.4",
        PNL_SCALE="1e6",
        SHARPE_SCALE="4",
        DRAWDOWN_SCALE="30",
        DRAWDOWN_CUT_START="6",
        DRAWDOWN_CUT_END="16",
        DRAWDOWN_CUT_FLOOR="0",
    )
    assert len(changed) == len(fields(Rules))
    assert load(tmp_path, changed).rules() == Rules(
        *(0.01, 0.9, 0.11, 0.06, 0.21, 60, 2, 0.5, 7, 4, 1234.5, 0.1, 0.2, 0.3, 0.4, 1e6, 4, 30, 6, 16, 0),
        min_reserve=0.07,
        release_after_cycles=5,
        groups=(Group("crypto", 0.5, ("CryptoTrend", "Grid*")), Group("sports", 0.2, ("Sports*",))),
    )


@pytest.mark.parametrize(("interval", "age"), [("1", 900), ("300", 900), ("301", 903), ("3600", 10_800)])
def test_max_age_follows_the_interval(tmp_path: Path, interval: str, age: float) -> None:
    """Without MAX_AGE a payload may be as old as three intervals, but 900 s in any case."""
    assert load(tmp_path, own(INTERVAL=interval)).rules().max_age_seconds == age


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("INTERVAL", "0.25", "interval_seconds", 0.25),
        ("INTERVAL", "31536000", "interval_seconds", 31_536_000),
        ("INTERVAL", "3e2", "interval_seconds", 300),
        ("INTERVAL", "+5.", "interval_seconds", 5),
        ("INTERVAL", "5m", "interval_seconds", 300),
        ("ALERT_AGENT", "90s", "agent_minutes", 1.5),
        ("ALERT_STALE", "1h30m", "stale_minutes", 90),
        ("INTERVAL", "365d", "interval_seconds", 31_536_000),
        ("COOLDOWN", "2h", "cooldown_seconds", 7_200),
        ("COOLDOWN", "0s", "cooldown_seconds", 0),
        ("MAX_AGE", "1h30m", "max_age_seconds", 5_400),
        ("FETCH_DEADLINE", "0.5s", "fetch_deadline_seconds", 0.5),
        ("MIN_ALLOC", "-0", "min_alloc", 0),
        ("MIN_ALLOC", ".1", "min_alloc", 0.1),
        ("MAX_ALLOC", "1", "max_alloc", 1),
        ("THRESHOLD", "0", "threshold", 0),
        ("DRAWDOWN_CUT_START", "15", "drawdown_cut_start_percent", 15),
        ("RELEASE_AFTER", "never", "release_after_cycles", None),
        ("RELEASE_AFTER", "0", "release_after_cycles", 0),
        ("GROUPS", " a = 1 : Ada , B?? ", "groups", (Group("a", 1.0, ("Ada", "B??")),)),
        ("GROUPS", "a=0:*;b=.25:desk 1:Ada", "groups", (Group("a", 0.0, ("*",)), Group("b", 0.25, ("desk 1:Ada",)))),
        ("FETCH_DEADLINE", "300", "fetch_deadline_seconds", 300),
        ("FETCH_MAX_BYTES", "1024", "fetch_max_bytes", 1024),
        ("FETCH_MAX_BYTES", "512KiB", "fetch_max_bytes", 524_288),
        ("FETCH_MAX_BYTES", "16 MiB", "fetch_max_bytes", 16_777_216),
        ("FETCH_MAX_BYTES", "1 gib", "fetch_max_bytes", 1_073_741_824),
        ("LOG_LEVEL", "warning", "log_level", "WARNING"),
        ("LOG_FORMAT", "json", "log_format", "json"),
        ("OVERRIDE", "off", "override", "off"),
        ("PROFILE", "steady", "profile", "steady"),
        ("HIVE", "1", "hive", True),
        ("JOURNAL", "elsewhere/${X}.db", "journal", Path("elsewhere/${X}.db")),
    ],
)
def test_accepted(tmp_path: Path, name: str, text: str, field: str, value: object) -> None:
    """Values at and inside the limits are taken, from the environment and, to the letter, from .env."""
    assert getattr(load(tmp_path, own(**{name: text})), field) == value
    (tmp_path / ".env").write_text(f"CAPITAL_GOVERNOR_{name}={text}\n")
    assert getattr(load(tmp_path, {"X": "expanded"}), field) == value


def test_negative_zero(tmp_path: Path) -> None:
    """A negative zero is zero, in what is shown as well."""
    assert load(tmp_path, own(MIN_ALLOC="-0")).masked()["CAPITAL_GOVERNOR_MIN_ALLOC"] == "0"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://neolight.example/base/", "https://neolight.example/base"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
        ("http://[::1]:8100", "http://[::1]:8100"),
        ("http://dash_board:8100", "http://dash_board:8100"),
    ],
)
def test_dashboard_url(tmp_path: Path, url: str, kept: str) -> None:
    """The dashboard's URL is kept as written, less a slash at its end."""
    assert load(tmp_path, {"NEOLIGHT_DASHBOARD_URL": url}).dashboard_url == kept


# --- what is refused ------------------------------------------------------------------------------------------------

NUMBERS = [
    *(
        "INTERVAL",
        "MIN_ALLOC",
        "MAX_ALLOC",
        "MIN_RESERVE",
        "THRESHOLD",
        "DERISK_THRESHOLD",
        "TURNOVER_THRESHOLD",
        "COOLDOWN",
    ),
    *("CONFIRM_CYCLES", "MAX_STEP", "PROBATION", "MEMBERSHIP_GRACE", "RELEASE_AFTER", "MAX_AGE"),
    *("PNL_WEIGHT", "SHARPE_WEIGHT", "WINRATE_WEIGHT", "DRAWDOWN_WEIGHT"),
    *("PNL_SCALE", "SHARPE_SCALE", "DRAWDOWN_SCALE"),
    *("DRAWDOWN_CUT_START", "DRAWDOWN_CUT_END", "DRAWDOWN_CUT_FLOOR"),
    *("FETCH_DEADLINE", "FETCH_MAX_BYTES", "JOURNAL_DAYS", "HIVE", "HIVE_CAPITAL"),
    *("ALERT_UNREACHABLE", "ALERT_ERROR", "ALERT_STALE", "ALERT_AGENT"),
]
NO_NUMBERS = [
    "nan",
    "NaN",
    "inf",
    "-inf",
    "Infinity",
    "1e400",
    "-1",
    "-1e-9",
    "1_000",
    "\u0661",
    "0x10",
    "5 ",
    " 5",
    "1,5",
]
NO_NUMBERS += ["five", "5y", "--1", ".", "1e", "true", "\t5", "5\n"]


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("name", NUMBERS)
def test_no_number(tmp_path: Path, name: str, text: str) -> None:
    """Only plain, finite decimal numbers that are not negative are numbers, in every numeric setting."""
    (fault,) = refused(tmp_path, own(**{name: text}))
    shown = text if text.isprintable() and text == text.strip() else ascii(text)
    assert fault.startswith(f"CAPITAL_GOVERNOR_{name}={shown} (environment) is ")
    assert "; it takes " in fault


SECONDS = {"INTERVAL", "COOLDOWN", "MAX_AGE", "FETCH_DEADLINE"}
MINUTES = {"ALERT_UNREACHABLE", "ALERT_ERROR", "ALERT_STALE", "ALERT_AGENT"}


@pytest.mark.parametrize("name", sorted({*NUMBERS} - SECONDS - MINUTES))
def test_only_seconds_and_minutes_take_a_duration(tmp_path: Path, name: str) -> None:
    """A share, a count or a number of days with a unit of time is refused."""
    assert len(refused(tmp_path, own(**{name: "5m"}))) == 1


NONSENSE = ("nope", "-1", "1e999", "\u0661", "{}", "a b\tc", "x" * 5_000, "\x1b[2J", "http://[", "5 parsecs")
LIBRARIES = re.compile(
    r"value error|input should|unable to parse|validation error|invalid (int|float|choice|literal)|could not convert"
    r"|type=|pydantic|KeyError|errno|urlsplit|Error:",
    re.IGNORECASE,
)


@pytest.mark.parametrize("text", NONSENSE, ids=range(len(NONSENSE)))
@pytest.mark.parametrize("name", variables())
def test_nonsense_is_refused_in_our_own_words(tmp_path: Path, name: str, text: str) -> None:
    """Whatever a setting is given, each fault is one printable line without a phrase of a library."""
    if name == "NEOLIGHT_ROOT":
        _, faults = outcome(tmp_path / text.strip()[:100], {})
    else:
        _, faults = outcome(tmp_path, {name: text})
    for fault in faults:
        assert fault.isprintable()
        assert not LIBRARIES.search(fault.replace(text, "")), fault
        assert len(fault) < 500


@pytest.mark.parametrize(
    ("name", "text", "takes"),
    [
        ("INTERVAL", "0", f"seconds above 0, at most 31,536,000, {DURATION}"),
        ("INTERVAL", "1e-400", f"seconds above 0, at most 31,536,000, {DURATION}"),
        ("INTERVAL", "0m", f"seconds above 0, at most 31,536,000, {DURATION}"),
        ("INTERVAL", "366d", f"seconds above 0, at most 31,536,000, {DURATION}"),
        ("FETCH_DEADLINE", "301s", f"seconds above 0, at most 300, {DURATION}"),
        ("INTERVAL", "31536001", f"seconds above 0, at most 31,536,000, {DURATION}"),
        ("MIN_ALLOC", "1.01", "a number from 0 to 1"),
        ("MAX_ALLOC", "0", "a number above 0, at most 1"),
        ("MAX_ALLOC", "40", "a number above 0, at most 1"),
        ("MIN_RESERVE", "1.01", "a number from 0 to 1"),
        ("THRESHOLD", "1.0001", "a number from 0 to 1"),
        ("DERISK_THRESHOLD", "5", "a number from 0 to 1"),
        ("TURNOVER_THRESHOLD", "2", "a number from 0 to 1"),
        ("CONFIRM_CYCLES", "0", "a whole number from 1 to 1,000,000"),
        ("CONFIRM_CYCLES", "1.0", "a whole number from 1 to 1,000,000"),
        ("CONFIRM_CYCLES", "9" * 5000, "a whole number from 1 to 1,000,000"),
        ("MAX_STEP", "0", "a number above 0, at most 1"),
        ("MAX_STEP", "1.1", "a number above 0, at most 1"),
        ("PROBATION", "0.5", "a whole number from 0 to 1,000,000"),
        ("MEMBERSHIP_GRACE", "1000001", "a whole number from 0 to 1,000,000"),
        ("RELEASE_AFTER", "1000001", "the word never, or a whole number from 0 to 1,000,000"),
        ("RELEASE_AFTER", "Never", "the word never, or a whole number from 0 to 1,000,000"),
        ("MAX_AGE", "0", f"seconds above 0, {DURATION}"),
        ("PNL_WEIGHT", "1.5", "a number from 0 to 1"),
        ("PNL_SCALE", "0", "a number above 0"),
        ("SHARPE_SCALE", "0", "a number above 0"),
        ("DRAWDOWN_SCALE", "0", "a number above 0"),
        ("DRAWDOWN_CUT_FLOOR", "25", "a number from 0 to 1"),
        ("FETCH_DEADLINE", "0", f"seconds above 0, at most 300, {DURATION}"),
        ("FETCH_DEADLINE", "301", f"seconds above 0, at most 300, {DURATION}"),
        ("FETCH_MAX_BYTES", "1023", "a whole number of bytes, KiB, MiB or GiB, 1024 to 1 GiB"),
        ("FETCH_MAX_BYTES", "2GiB", "a whole number of bytes, KiB, MiB or GiB, 1024 to 1 GiB"),
        ("FETCH_MAX_BYTES", "16 MB", "a whole number of bytes, KiB, MiB or GiB, 1024 to 1 GiB"),
        ("FETCH_MAX_BYTES", "1.5 MiB", "a whole number of bytes, KiB, MiB or GiB, 1024 to 1 GiB"),
        ("OVERRIDE", "Assert", "assert, report or off"),
        ("PROFILE", "calm", "original or steady"),
        ("JOURNAL", " ", "the path of a file, relative to the root"),
        ("JOURNAL", ".", "the path of a file, relative to the root"),
        ("JOURNAL", "a\nb", "the path of a file, relative to the root"),
        ("JOURNAL", "runtime/allocations_override.json", "the path of a file, relative to the root"),
        ("JOURNAL", "runtime/capital_governor_allocations.json", "the path of a file, relative to the root"),
        ("JOURNAL", "state/guardian_pause.json", "the path of a file, relative to the root"),
        ("JOURNAL", "runtime/capital_governor.STOP", "the path of a file, relative to the root"),
        ("JOURNAL", "runtime/capital_governor.lock", "the path of a file, relative to the root"),
        ("JOURNAL", "logs/capital_governor.log", "the path of a file, relative to the root"),
        ("JOURNAL", "runtime/.own.0123456789abcdef.tmp", "the path of a file, relative to the root"),
        ("JOURNAL", ".env", "the path of a file, relative to the root"),
        ("JOURNAL_DAYS", "0", "days: a number above 0"),
        ("LOG_FORMAT", "xml", "console or json"),
        ("LOG_LEVEL", "TRACE", "DEBUG, INFO, WARNING or ERROR"),
        ("NAME", "a\nb", "a text of at most 60 printable characters"),
        ("NAME", "x" * 61, "a text of at most 60 printable characters"),
        ("ALERT_STALE", "-1", f"minutes, 0 or more, {DURATION}"),
        ("HIVE", "yes", "0 or 1"),
        ("HIVE_CAPITAL", "0", "a number above 0"),
    ],
)
def test_out_of_range(tmp_path: Path, name: str, text: str, takes: str) -> None:
    """A value outside its limits is refused by one line that names the variable and what it takes."""
    (fault,) = refused(tmp_path, own(**{name: text}))
    assert fault.startswith(f"CAPITAL_GOVERNOR_{name}=")
    assert fault.endswith(f"; it takes {takes}")


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        (
            own(MIN_ALLOC="0.5"),
            "CAPITAL_GOVERNOR_MIN_ALLOC=0.5 is above CAPITAL_GOVERNOR_MAX_ALLOC=0.4; lower one or raise the other",
        ),
        (
            own(DRAWDOWN_CUT_START="20"),
            (
                "CAPITAL_GOVERNOR_DRAWDOWN_CUT_START=20 is above CAPITAL_GOVERNOR_DRAWDOWN_CUT_END=15;"
                " lower one or raise the other"
            ),
        ),
        (
            own(PNL_WEIGHT="0.5"),
            (
                "CAPITAL_GOVERNOR_PNL_WEIGHT=0.5 + CAPITAL_GOVERNOR_SHARPE_WEIGHT=0.3 + "
                "CAPITAL_GOVERNOR_WINRATE_WEIGHT=0.2 + CAPITAL_GOVERNOR_DRAWDOWN_WEIGHT=0.1 "
                "add up to 1.1; they must add up to 1"
            ),
        ),
        (
            {"TELEGRAM_BOT_TOKEN": TOKEN},
            "TELEGRAM_BOT_TOKEN is set but TELEGRAM_CHAT_ID is not; set both, or neither",
        ),
        (
            {"TELEGRAM_CHAT_ID": "-100123", "TELEGRAM_BOT_TOKEN": ""},
            "TELEGRAM_CHAT_ID is set but TELEGRAM_BOT_TOKEN is not; set both, or neither",
        ),
    ],
)
def test_conflicts(tmp_path: Path, environ: dict[str, str], fault: str) -> None:
    """Settings that do not fit together are refused in terms of all of them."""
    assert refused(tmp_path, environ) == (fault,)


@pytest.mark.parametrize("off", [-2e-9, 2e-9])
def test_score_weights_add_up(tmp_path: Path, off: float) -> None:
    """The score weights may miss 1 by float rounding, and by nothing more."""
    third = own(PNL_WEIGHT=repr(1 / 3), SHARPE_WEIGHT=repr(1 / 3), WINRATE_WEIGHT="0", DRAWDOWN_WEIGHT=repr(1 / 3))
    assert load(tmp_path, third).pnl_weight == 1 / 3
    assert "must add up to 1" in refused(tmp_path, own(PNL_WEIGHT=repr(0.4 + off)))[0]


URLS = [
    "ftp://h",
    "file:///etc/passwd",
    "localhost:8100",
    "//h",
    "http://",
    "http://:8100",
    "http://h:0",
    "http://h:65536",
    "http://h:x",
    "http://h h",
    "http://h\t/",
    "http://h\\x",
    "http://h/a\\b",
    "http://[::1",
    "http://[x]",
    "http://${HOST}",
    "http://-h",
    "http://h\u00f6st",
]


@pytest.mark.parametrize("variable", ["NEOLIGHT_DASHBOARD_URL", "TELEGRAM_API_BASE_URL"])
@pytest.mark.parametrize("url", [*URLS, "http://h?q=1", "http://h/#f", "http://h/?"])
def test_no_url(tmp_path: Path, variable: str, url: str) -> None:
    """Only an http(s) URL with a host, and nothing behind its path, is taken."""
    (fault,) = refused(tmp_path, {variable: url})
    assert fault.startswith(f"{variable}=")
    assert "; it takes an http:// or https:// URL" in fault


@pytest.mark.parametrize("url", [*URLS, "http://user:CANARY@h"])
def test_no_heartbeat_url(tmp_path: Path, url: str) -> None:
    """A faulty heartbeat URL is refused without being repeated; a query is welcome in one."""
    (fault,) = refused(tmp_path, own(HEARTBEAT_URL=url))
    assert fault.startswith("CAPITAL_GOVERNOR_HEARTBEAT_URL=******** (environment) ")
    assert url not in fault.replace("http:// or https://", "")
    assert "CANARY" not in fault
    assert load(tmp_path, own(HEARTBEAT_URL=f"{HEARTBEAT}?x=1")).heartbeat_url is not None


@pytest.mark.parametrize("variable", ["NEOLIGHT_DASHBOARD_URL", "TELEGRAM_API_BASE_URL"])
@pytest.mark.parametrize(
    "url", ["http://user:CANARY@h", "http://CANARY@h", "ftp://a:CANARY@h/", "http:/a:CANARY@h", "http://a:CANARY @h"]
)
def test_password_in_url(tmp_path: Path, variable: str, url: str) -> None:
    """A URL with user or password is refused, and nothing of it is shown."""
    (fault,) = refused(tmp_path, {variable: url})
    assert fault.startswith(f"{variable}=******** ")
    assert "CANARY" not in fault


@pytest.mark.parametrize("chat", ["my chat", "@", "@1", "--1", "12a", "\u0661\u0662", "t.me/x"])
def test_no_chat(tmp_path: Path, chat: str) -> None:
    """A chat is a number or @channelname."""
    (fault,) = refused(tmp_path, {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": chat})
    assert fault == f"TELEGRAM_CHAT_ID={chat} (environment) is not a chat; it takes a chat's number, or @channelname"


@pytest.mark.parametrize("topic", ["0", "-5", "1.5", "General", "@ops", "99999999999"])
def test_no_topic(tmp_path: Path, topic: str) -> None:
    """A topic is a positive whole number."""
    (fault,) = refused(tmp_path, {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "-1", "TELEGRAM_TOPIC_ID": topic})
    assert fault.startswith(f"TELEGRAM_TOPIC_ID={topic} (environment) is ")
    assert fault.endswith("; it takes a topic's number: a whole number above 0")


def test_a_topic_needs_its_chat(tmp_path: Path) -> None:
    """A topic is one of a chat, and without that chat it is refused."""
    assert refused(tmp_path, {"TELEGRAM_TOPIC_ID": "7"}) == (
        "TELEGRAM_TOPIC_ID is set but TELEGRAM_CHAT_ID is not; set the chat that it is of",
    )
    bot = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "-1"}
    assert load(tmp_path, bot | {"TELEGRAM_TOPIC_ID": "7"}).telegram_topic_id == 7


@pytest.mark.parametrize(
    "token", ["CANARY token", "CANARY\r\nHost: x", "CANARY-t\u00f6ken", "CANARY\tx", "CANARY\x7f", "CANARY"]
)
def test_no_dashboard_token(tmp_path: Path, token: str) -> None:
    """What could break a header, or is too short to be hidden, is refused without being repeated."""
    (fault,) = refused(tmp_path, own(DASHBOARD_TOKEN=token))
    assert fault.startswith("CAPITAL_GOVERNOR_DASHBOARD_TOKEN=******** (environment) ")
    assert fault.endswith("; it takes a token of 8 or more printable ASCII characters without blanks")
    assert "CANARY" not in fault


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("CAPITAL_GOVERNOR_MAX_ALOC", "CAPITAL_GOVERNOR_MAX_ALLOC"),
        ("CAPITAL_GOVERNOR_MAXALLOC", "CAPITAL_GOVERNOR_MAX_ALLOC"),
        ("CAPITAL_GOVERNOR_TRESHOLD", "CAPITAL_GOVERNOR_THRESHOLD"),
        ("CAPITAL_GOVERNOR_INTERVAL_SECONDS", "CAPITAL_GOVERNOR_INTERVAL"),
        ("capital_governor_interval", "CAPITAL_GOVERNOR_INTERVAL"),
        ("Capital_Governor_Hive", "CAPITAL_GOVERNOR_HIVE"),
    ],
)
def test_typos(tmp_path: Path, name: str, near: str) -> None:
    """An unknown name with our prefix, empty or not, is refused with the nearest known one, wherever it is set."""
    assert refused(tmp_path, {name: "1"}) == (f"{name} (environment) is not a setting; did you mean {near}?",)
    (tmp_path / ".env").write_text(f"{name}=\n")
    assert refused(tmp_path, {}) == (f"{name} (.env) is not a setting; did you mean {near}?",)


def test_strange_name(tmp_path: Path) -> None:
    """An unknown name like no other is sent to the list of names, and what may be a value in it is not shown."""
    (fault,) = refused(tmp_path, {"CAPITAL_GOVERNOR_QQQQQ:CANARY": "CANARY"})
    assert (
        fault == "CAPITAL_GOVERNOR_QQQQQ (environment) is not a setting; the example file .env.example lists all names"
    )


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Every fault of every kind is reported by one start, and none twice."""
    (tmp_path / ".env").write_text("CAPITAL_GOVERNOR_HIV=1\nCAPITAL_GOVERNOR_COOLDOWN=-1\nCAPITAL_GOVERNOR_MAX_STEP\n")
    environ = own(INTERVAL="0", THRESHOLD="x", MIN_ALLOC="0.9", HEARTBEAT_URL="CANARY", PROBATON="1", MAX_AGE="0")
    faults = refused(tmp_path, environ | {"NEOLIGHT_DASHBOARD_URL": "h", "TELEGRAM_CHAT_ID": "1"})
    names = [re.split(r"[= ]", fault)[0].removeprefix("CAPITAL_GOVERNOR_") for fault in faults]
    assert len(names) == len(set(names))
    assert set(names) == {
        *("MAX_STEP", "PROBATON", "HIV", "NEOLIGHT_DASHBOARD_URL", "INTERVAL", "THRESHOLD", "COOLDOWN", "MAX_AGE"),
        *("HEARTBEAT_URL", "MIN_ALLOC", "TELEGRAM_CHAT_ID"),
    }


def test_a_faulty_value_takes_part_in_no_conflict(tmp_path: Path) -> None:
    """What is wrong in itself is not also blamed for not fitting with others."""
    faults = refused(tmp_path, own(MAX_ALLOC="x", MIN_ALLOC="0.9", PNL_WEIGHT="2"))
    assert [fault.split("=")[0] for fault in faults] == ["CAPITAL_GOVERNOR_MAX_ALLOC", "CAPITAL_GOVERNOR_PNL_WEIGHT"]


@given(st.dictionaries(st.sampled_from(variables()), st.text(max_size=30)))
def test_any_text(environ: dict[str, str]) -> None:
    """Whatever the environment holds, the answer is settings or a SettingsError with printable lines."""
    with tempfile.TemporaryDirectory() as root:
        settings, faults = outcome(Path(root), environ)
    assert all(fault.isprintable() for fault in faults)
    assert (settings is None) == bool(faults)
    if settings is not None:
        assert settings.min_alloc <= settings.max_alloc
        assert settings.interval_seconds > 0


# --- sources --------------------------------------------------------------------------------------------------------


def test_precedence(tmp_path: Path) -> None:
    """The environment wins over .env, which wins over the default; an empty value is not set."""
    (tmp_path / ".env").write_text(
        "CAPITAL_GOVERNOR_INTERVAL=60\nCAPITAL_GOVERNOR_MIN_ALLOC=0.02\nCAPITAL_GOVERNOR_MAX_ALLOC=\n"
        "CAPITAL_GOVERNOR_THRESHOLD=0.3\n"
    )
    settings = load(tmp_path, own(INTERVAL="30", THRESHOLD=""))
    assert (settings.interval_seconds, settings.min_alloc, settings.max_alloc) == (30, 0.02, 0.40)
    assert settings.threshold == 0.3
    assert settings.origins["NEOLIGHT_ROOT"] == "argument"
    assert settings.origins["CAPITAL_GOVERNOR_INTERVAL"] == "environment"
    assert settings.origins["CAPITAL_GOVERNOR_MIN_ALLOC"] == ".env"
    assert settings.origins["CAPITAL_GOVERNOR_THRESHOLD"] == ".env"
    assert settings.origins["CAPITAL_GOVERNOR_MAX_ALLOC"] == "default"


def test_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root is the argument, else NEOLIGHT_ROOT of the environment, else the current folder; never from .env."""
    argument, environment, current = (tmp_path / name for name in ("argument", "environment", "current"))
    for folder in (argument, environment, current):
        folder.mkdir()
        (folder / ".env").write_text(f"NEOLIGHT_ROOT=/nowhere\nCAPITAL_GOVERNOR_JOURNAL={folder.name}.db\n")
    monkeypatch.chdir(current)
    cases = [(argument, str(environment), argument), (None, str(environment), environment), (None, "", current)]
    for root, variable, expected in cases:
        settings = load(root, {"NEOLIGHT_ROOT": variable})
        assert settings.journal_path == expected / f"{expected.name}.db"
    assert load(Path("../argument"), {}).root.is_absolute()


def test_the_process_environment_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment given, that of the process counts."""
    monkeypatch.setenv("CAPITAL_GOVERNOR_INTERVAL", "77")
    assert load(tmp_path).interval_seconds == 77
    assert load(tmp_path, {}).interval_seconds == 300


def test_current_folder_gone(tmp_path: Path) -> None:
    """A start from a removed folder is refused in words."""
    code = (
        "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        "from capital_governor.settings.faults import SettingsError\n"
        "from capital_governor.settings.load import load\n"
        "try: load(None, {})\nexcept SettingsError as error: print(error.faults)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('the current folder is gone; set NEOLIGHT_ROOT or give --root',)"


OTHERS = """\ufeff
# a comment about CAPITAL_GOVERNOR_INTERVAL=1
export ALPACA_KEY='a b c'
WEIRD LINE without any sense
=novalue
INTERVAL=0
capital=1
MAX_ALLOC=9
CAPITAL_GOVERNORS=7
TELEGRAM_OTHER broken ' line
JSON={"a": [1, "CAPITAL_GOVERNOR_X"]}
MULTI="first
second"
EVIL=$(touch evil)`touch evil`${HOME}
NUL=\0\x1b[31m
export CAPITAL_GOVERNOR_THRESHOLD = "0.2" # said twice: the last one counts
CAPITAL_GOVERNOR_THRESHOLD='0.25'
UNCLOSED='
"""


def test_other_programs(tmp_path: Path) -> None:
    """Lines of other programs in the shared .env are ignored, however odd, and nothing in it is run or replaced."""
    (tmp_path / ".env").write_text(OTHERS, encoding="utf-8")
    settings = load(tmp_path, {"INTERVAL": "0", "NEOLIGHT_OTHER": "\udcff", "CAPITAL": "x"})
    assert settings.threshold == 0.25
    assert settings.masked() == load(tmp_path, own(THRESHOLD="0.25")).masked()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env"]


@pytest.mark.parametrize(
    "text",
    [
        'OTHER="never closed\nCAPITAL_GOVERNOR_MAX_ALLOC=0.2\nNEXT="x"\n',
        "OTHER='never closed\r\nexport CAPITAL_GOVERNOR_MAX_ALLOC=0.2\r\nNEXT=it's\r\n",
        'OTHER="never closed\nCAPITAL_GOVERNOR_MAX_ALLOC=0.2\nNEXT=it"\n',
        "CAPITAL_GOVERNOR_MAX_ALLOC 0.2\n",
        "CAPITAL_GOVERNOR_MAX_ALLOC: 0.2\n",
        "CAPITAL_GOVERNOR_MAX_ALLOC\n",
        'CAPITAL_GOVERNOR_MAX_ALLOC="0.2\n',
        'CAPITAL_GOVERNOR_MAX_ALLOC="0.2" x\n',
        "set CAPITAL_GOVERNOR_MAX_ALLOC=0.2\n",
    ],
)
def test_lost_line(tmp_path: Path, text: str) -> None:
    """A limit that .env means to set but does not, for a broken line or another's open quote, is not ignored."""
    (tmp_path / ".env").write_text(text, newline="")
    (fault,) = refused(tmp_path, {})
    assert fault.startswith("CAPITAL_GOVERNOR_MAX_ALLOC (.env) is not read: ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_env_of_another_system(tmp_path: Path, encoding: str, ends: str) -> None:
    """A .env is read as it was meant whatever its line ends, with a byte-order mark or as UTF-16 that has one."""
    text = f"export CAPITAL_GOVERNOR_THRESHOLD=0.2{ends}CAPITAL_GOVERNOR_MAX_ALLOC='0.5'{ends}"
    mark = "\ufeff" if encoding in {"utf-16-le", "utf-16-be"} else ""
    (tmp_path / ".env").write_bytes(f"{mark}{text}".encode(encoding))
    settings = load(tmp_path, {})
    assert (settings.threshold, settings.max_alloc) == (0.2, 0.5)


def test_env_put_together_from_files_with_marks(tmp_path: Path) -> None:
    """A byte-order mark in the midst of the file does not make a limit another, unknown variable."""
    text = "A=1\n\ufeffCAPITAL_GOVERNOR_MAX_ALLOC=0.5\n"
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    assert load(tmp_path, {}).max_alloc == 0.5


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
def test_env_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    """UTF-16 without a mark, which UTF-8 would read as names of its own, is refused with the remedy."""
    path = tmp_path / ".env"
    path.write_bytes("CAPITAL_GOVERNOR_MAX_ALLOC=0.5\n".encode(encoding))
    assert refused(tmp_path, {}) == (f"{path} is not UTF-8 text; save it as UTF-8",)


def test_unreadable_env(tmp_path: Path) -> None:
    """A .env that is there but cannot be read as text is refused, rather than taken for empty."""
    path = tmp_path / ".env"
    path.write_bytes(b"A=\xff\xfe\n")
    assert refused(tmp_path, {}) == (f"{path} is not UTF-8 text; save it as UTF-8",)
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    assert refused(tmp_path, {}) == (f"{path} is larger than 1 MiB; it takes lines NAME=value",)
    for make in (os.mkfifo, Path.mkdir):
        path.unlink()
        make(path)
        assert refused(tmp_path, {}) == (f"{path} is not a file; it takes lines NAME=value, or no such file at all",)
    path.rmdir()
    path.symlink_to(tmp_path / "nothing")
    assert "cannot be read (No such file or directory)" in refused(tmp_path, {})[0]


@pytest.mark.parametrize(
    ("root", "problem"),
    [
        ("/dev/null", "is not a folder"),
        ("/dev/null/x", "is not a folder (Not a directory)"),
        ("/no/such/folder", "is not a folder (No such file or directory)"),
        ("/a\0b", "is not a folder"),
    ],
)
def test_root_refused(root: str, problem: str) -> None:
    """A root that is no folder is refused beside all other faults."""
    faults = refused(Path(root), own(INTERVAL="0"))
    assert len(faults) == 2
    shown = root if root.isprintable() else ascii(root)
    assert faults[0].startswith(f"--root {shown} {problem}")
    assert faults[0].endswith("; it takes the folder with runtime/, state/, logs/ and .env")
    assert (check_root(Path(root)) or "").startswith(problem)


def test_a_refused_root_is_named_as_it_was_given() -> None:
    """By the option or by the variable."""

    def said(root: Path | None, environ: dict[str, str]) -> str:
        with pytest.raises(SettingsError) as refusal:
            load(root, environ)
        return refusal.value.faults[0]

    assert said(Path("/dev/null"), {"NEOLIGHT_ROOT": "/tmp"}).startswith("--root /dev/null is not a folder")  # noqa: S108
    assert said(None, {"NEOLIGHT_ROOT": "/dev/null"}).startswith("NEOLIGHT_ROOT=/dev/null is not a folder")


def test_a_root_need_not_be_writable() -> None:
    """Not even a superuser can write to it: it is no fault of the settings, since whoever only looks writes nothing."""
    assert check_root(Path("/proc")) is None
    assert load(Path("/proc"), {}).root == Path("/proc")


def test_a_refusal_writes_nothing(tmp_path: Path) -> None:
    """Neither a refused nor a good start leaves anything in the root."""
    refused(tmp_path, own(INTERVAL="0"))
    load(tmp_path, {})
    assert list(tmp_path.iterdir()) == []


# --- secrets --------------------------------------------------------------------------------------------------------


def test_secrets_are_masked(tmp_path: Path) -> None:
    """No secret is in what settings print, show or say, and all are listed for redaction."""
    environ = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "-100123"} | own(HEARTBEAT_URL=HEARTBEAT)
    settings = load(tmp_path, environ | {"CAPITAL_GOVERNOR_DASHBOARD_TOKEN": "CANARY+dashboard/token=="})
    hidden = [name for name, value in settings.masked().items() if value == "********"]
    assert hidden == [
        *("TELEGRAM_BOT_TOKEN", "CAPITAL_GOVERNOR_DASHBOARD_TOKEN", "CAPITAL_GOVERNOR_HEARTBEAT_URL"),
    ]
    for text in (repr(settings), str(settings), repr(settings.masked()), repr(settings.origins)):
        assert "CANARY" not in text
    assert settings.telegram_bot_token is not None
    assert settings.telegram_bot_token.get_secret_value() == TOKEN
    parts = (TOKEN, TOKEN[10:], HEARTBEAT, "CANARY-heartbeat-key", "CANARY+dashboard/token==")
    assert sorted(settings.secrets()) == sorted(parts)
    assert load(tmp_path, {}).secrets() == ()


@pytest.mark.parametrize("name", sorted(set(variables()) - {"NEOLIGHT_ROOT"}))
@pytest.mark.parametrize("secret", [TOKEN, HEARTBEAT, f"{HEARTBEAT}{'x' * 99}", "CANARY secret", "https://a:CANARY@h"])
def test_a_secret_in_the_wrong_place(tmp_path: Path, name: str, secret: str) -> None:
    """A secret that is faulty, or was written into any other variable too, is in no message."""
    environ = {"TELEGRAM_BOT_TOKEN": secret, "CAPITAL_GOVERNOR_HEARTBEAT_URL": secret, name: secret}
    faults = refused(tmp_path, environ | own(INTERVAL="0"))
    assert "CANARY" not in "".join(faults)


@pytest.mark.parametrize(
    ("variable", "secret", "part"),
    [
        ("TELEGRAM_BOT_TOKEN", TOKEN, TOKEN.partition(":")[2]),
        ("CAPITAL_GOVERNOR_HEARTBEAT_URL", HEARTBEAT, "CANARY-heartbeat-key"),
        ("CAPITAL_GOVERNOR_DASHBOARD_TOKEN", "CANARY+dashboard/token==", "CANARY+dashboard/token=="),
    ],
)
def test_half_a_secret_in_the_wrong_place(tmp_path: Path, variable: str, secret: str, part: str) -> None:
    """The telling part of a secret alone, written into another variable, is in no message either."""
    (fault,) = refused(tmp_path, {variable: secret, "TELEGRAM_CHAT_ID": "-100123"} | own(OVERRIDE=part))[:1]
    assert "CAPITAL_GOVERNOR_OVERRIDE" in fault
    assert "CANARY" not in fault


def test_a_direct_validation_error_hides_values(tmp_path: Path) -> None:
    """Even the library's own error, which load never lets out, carries no secret in its text."""
    given: dict[str, Any] = {"telegram_bot_token": ["CANARY"], "heartbeat_url": "ftp://CANARY", "min_alloc": "CANARY"}
    with pytest.raises(ValidationError) as caught:
        Settings(root=tmp_path, **given)
    assert "CANARY" not in str(caught.value)
    assert "CANARY" not in repr(caught.value)


def test_no_chain(tmp_path: Path) -> None:
    """The refusal drags no other exception along, whose traceback might show inputs."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, own(HEARTBEAT_URL="CANARY"))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_frozen(tmp_path: Path) -> None:
    """Settings do not change once they are checked."""
    settings = load(tmp_path, {})
    with pytest.raises(ValidationError):
        settings.max_alloc = 1.0  # type: ignore[misc]


# --- the example file -----------------------------------------------------------------------------------------------


def test_example_is_complete(tmp_path: Path) -> None:
    """The example lists every variable once, commented out, with its default, and nothing else."""
    text = EXAMPLE.read_text(encoding="utf-8")
    listed = re.findall(r"^# ([A-Z_]+)=(.*)$", text, flags=re.MULTILINE)
    assert [name for name, _ in listed].count("TELEGRAM_BOT_TOKEN") == 1
    assert sorted(name for name, _ in listed) == sorted(variables())
    assert all(line.startswith("#") or not line for line in text.splitlines())
    defaults = load(tmp_path, {}).masked()
    for name, value in listed:
        if value:
            assert load(tmp_path, {name: value}).masked()[name] == defaults[name], name
    empty = {name for name, value in listed if not value}
    assert empty == {
        *("NEOLIGHT_ROOT", "TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID", "TELEGRAM_TOPIC_ID"),
        "CAPITAL_GOVERNOR_DASHBOARD_TOKEN",
        "CAPITAL_GOVERNOR_GROUPS",
        *("CAPITAL_GOVERNOR_MAX_AGE", "CAPITAL_GOVERNOR_HEARTBEAT_URL", "CAPITAL_GOVERNOR_DIGEST_HOUR"),
        "CAPITAL_GOVERNOR_NAME",
    }


def test_example_uncommented_loads(tmp_path: Path) -> None:
    """The example with every variable uncommented means the defaults."""
    text = re.sub(r"^# ([A-Z_]+=)", r"\1", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    plain = load(tmp_path, {}).masked()
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    settings = load(tmp_path, {})
    assert settings.masked() == plain
    assert list(settings.origins.values()).count(".env") == len(variables()) - 10


def test_light_import() -> None:
    """Importing the settings loads nothing the daemon does without."""
    code = "import sys, capital_governor.settings.load; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["typer", "rich", "click", "telegram", "uvicorn", "starlette", "numpy", "httpx", "structlog"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_profile_sets_what_is_not_set(tmp_path: Path) -> None:
    """It beats the defaults, and a variable beats it, from wherever it is; the origins say so."""
    (tmp_path / ".env").write_text("CAPITAL_GOVERNOR_CONFIRM_CYCLES=2\n")
    settings = load(tmp_path, own(PROFILE="steady", PROBATION="0"))
    assert (settings.cooldown_seconds, settings.confirm_cycles, settings.probation_cycles) == (21_600.0, 2, 0)
    wanted = {"COOLDOWN": "profile", "CONFIRM_CYCLES": ".env", "PROBATION": "environment", "MAX_STEP": "default"}
    assert {name: settings.origins[f"CAPITAL_GOVERNOR_{name}"] for name in wanted} == wanted
    assert load(tmp_path, own(PROFILE="original")).rules() == load(tmp_path, {}).rules()
    assert find_place(tmp_path, own(PROFILE="steady")).rules.probation_cycles == 288


def test_a_refused_value_is_not_replaced_by_the_profiles(tmp_path: Path) -> None:
    """A wrong value is a fault with a profile, too."""
    (fault,) = refused(tmp_path, own(PROFILE="steady", COOLDOWN="soon"))
    assert "CAPITAL_GOVERNOR_COOLDOWN" in fault
