"""All settings: variable, kind, default, unit and meaning. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from capital_governor.settings import kinds
from capital_governor.settings.kinds import Kind

PREFIX: Final = "CAPITAL_GOVERNOR_"
ROOT: Final = "NEOLIGHT_ROOT"


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting.

    Args:
        name: of the variable.
        kind: which values it takes.
        default: a value of its kind, or None.
        unit: of its value, for the manual.
        meaning: what it sets, for the manual.
        secret: whether its value is never shown.
    """

    name: str
    kind: Kind
    default: Any
    unit: str
    meaning: str
    secret: bool = False


def _own(name: str, kind: Kind, default: object, unit: str, meaning: str) -> Variable:
    return Variable(PREFIX + name, kind, default, unit, meaning)


def _secret(name: str, kind: Kind, meaning: str) -> Variable:
    return Variable(name, kind, None, "secret", meaning, secret=True)


VARIABLES: Final[Mapping[str, Variable]] = {
    "root": Variable(ROOT, kinds.FOLDER, Path(), "folder", "the root; never taken from .env"),
    "dashboard_url": Variable(
        "NEOLIGHT_DASHBOARD_URL", kinds.DASHBOARD, "http://localhost:8100", "URL", "the dashboard's address"
    ),
    "telegram_bot_token": _secret("TELEGRAM_BOT_TOKEN", kinds.TOKEN, "from BotFather; set it with the chat"),
    "telegram_chat_id": Variable("TELEGRAM_CHAT_ID", kinds.CHAT, None, "chat", "the chat that gets the messages"),
    "telegram_topic_id": Variable("TELEGRAM_TOPIC_ID", kinds.TOPIC, None, "topic", "a forum topic in that chat"),
    "telegram_api_base_url": Variable(
        "TELEGRAM_API_BASE_URL", kinds.BOT_API, "https://api.telegram.org/bot", "URL", "token is appended"
    ),
    "interval_seconds": _own("INTERVAL", kinds.INTERVAL, 300.0, "s", "time between two decisions"),
    "min_alloc": _own("MIN_ALLOC", kinds.RATIO, 0.05, "weight", "floor of each agent's weight"),
    "max_alloc": _own("MAX_ALLOC", kinds.POSITIVE_RATIO, 0.40, "weight", "cap of each agent's weight"),
    "min_reserve": _own("MIN_RESERVE", kinds.RATIO, 0.0, "share", "reserve that is kept in any case"),
    "groups": _own("GROUPS", kinds.GROUPS, (), "groups", "caps on several agents together"),
    "threshold": _own("THRESHOLD", kinds.RATIO, 0.10, "share", "change of one share that causes a move"),
    "derisk_threshold": _own(
        "DERISK_THRESHOLD", kinds.RATIO, 0.05, "share", "growth of the reserve that causes a move"
    ),
    "turnover_threshold": _own("TURNOVER_THRESHOLD", kinds.RATIO, 0.20, "share", "turnover that causes a move"),
    "profile": _own("PROFILE", kinds.PROFILE, "original", "word", "steady: brakes for real money, see below"),
    "cooldown_seconds": _own("COOLDOWN", kinds.SECONDS, 0.0, "s", "shortest time between two moves; 0: off"),
    "confirm_cycles": _own(
        "CONFIRM_CYCLES", kinds.POSITIVE_COUNT, 1, "cycles", "decisions in a row that must ask for a move"
    ),
    "max_step": _own(
        "MAX_STEP", kinds.POSITIVE_RATIO, 1.0, "weight", "largest change of one weight in one move; 1: off"
    ),
    "probation_cycles": _own(
        "PROBATION", kinds.COUNT, 0, "cycles", "healthy cycles before a newcomer may exceed its floor"
    ),
    "membership_grace_cycles": _own(
        "MEMBERSHIP_GRACE", kinds.COUNT, 3, "cycles", "cycles without a record until an agent lapses"
    ),
    "release_after_cycles": _own(
        "RELEASE_AFTER", kinds.COUNT_OR_NEVER, None, "cycles", "more such cycles until its release"
    ),
    "max_age_set_seconds": _own(
        "MAX_AGE", kinds.AGE, None, "s", "oldest payload that is used; default 3 intervals, if more"
    ),
    "pnl_weight": _own("PNL_WEIGHT", kinds.RATIO, 0.40, "ratio", "profit's part of the score; the four add up to 1"),
    "sharpe_weight": _own("SHARPE_WEIGHT", kinds.RATIO, 0.30, "ratio", "the Sharpe ratio's part of the score"),
    "winrate_weight": _own("WINRATE_WEIGHT", kinds.RATIO, 0.20, "ratio", "the win rate's part of the score"),
    "drawdown_weight": _own("DRAWDOWN_WEIGHT", kinds.RATIO, 0.10, "ratio", "the drawdown's part of the score"),
    "pnl_scale": _own("PNL_SCALE", kinds.POSITIVE, 10_000.0, "currency", "7-day profit that earns its part in full"),
    "sharpe_scale": _own(
        "SHARPE_SCALE", kinds.POSITIVE, 3.0, "ratio", "30-day Sharpe ratio that earns its part in full"
    ),
    "drawdown_scale_percent": _own("DRAWDOWN_SCALE", kinds.POSITIVE, 20.0, "%", "30-day drawdown that earns nothing"),
    "drawdown_cut_start_percent": _own(
        "DRAWDOWN_CUT_START", kinds.PERCENT, 5.0, "%", "Guardian drawdown from which exposure falls"
    ),
    "drawdown_cut_end_percent": _own(
        "DRAWDOWN_CUT_END", kinds.PERCENT, 15.0, "%", "Guardian drawdown at which exposure is lowest"
    ),
    "drawdown_cut_floor": _own("DRAWDOWN_CUT_FLOOR", kinds.RATIO, 0.25, "ratio", "that lowest exposure"),
    "dashboard_token": _secret(f"{PREFIX}DASHBOARD_TOKEN", kinds.DASHBOARD_TOKEN, "bearer token for the dashboard"),
    "fetch_deadline_seconds": _own(
        "FETCH_DEADLINE", kinds.DEADLINE, 20.0, "s", "longest time for one fetch, retries included"
    ),
    "fetch_max_bytes": _own("FETCH_MAX_BYTES", kinds.SIZE, 16 << 20, "bytes", "largest answer; also KiB, MiB, GiB"),
    "override": _own("OVERRIDE", kinds.OVERRIDE, "assert", "word", "when others write the override: see below"),
    "journal": _own(
        "JOURNAL", kinds.FILE, Path("state/capital_governor.sqlite3"), "path", "a file, relative to the root"
    ),
    "journal_days": _own("JOURNAL_DAYS", kinds.DAYS, 90.0, "days", "how long entries are kept"),
    "log_format": _own("LOG_FORMAT", kinds.FORMAT, "console", "word", "lines for people, or JSON objects"),
    "log_level": _own("LOG_LEVEL", kinds.LEVEL, "INFO", "word", "lowest level that is logged"),
    "heartbeat_url": _secret(f"{PREFIX}HEARTBEAT_URL", kinds.HEARTBEAT, "asked after each completed cycle"),
    "digest_hour": _own("DIGEST_HOUR", kinds.HOUR, None, "hour", "when the daily message is sent, UTC"),
    "name": _own("NAME", kinds.TITLE, None, "text", "the fleet's name in messages; default HOST/ROOT"),
    "unreachable_minutes": _own(
        "ALERT_UNREACHABLE", kinds.MINUTES, 15.0, "min", "dashboard does not answer: delay of the message"
    ),
    "error_minutes": _own(
        "ALERT_ERROR", kinds.MINUTES, 15.0, "min", "dashboard answers an error: delay of the message"
    ),
    "stale_minutes": _own("ALERT_STALE", kinds.MINUTES, 15.0, "min", "metrics are stale: delay of the message"),
    "agent_minutes": _own("ALERT_AGENT", kinds.MINUTES, 10.0, "min", "agent is silent or faulty: delay of the message"),
    "hive": _own(
        "HIVE", kinds.SWITCH, default=False, unit="switch", meaning="1: the supervisor keeps the hive running too"
    ),
    "hive_capital": _own("HIVE_CAPITAL", kinds.POSITIVE, 100_000.0, "currency", "size of the account, for the hive"),
}
"""By field of ``Settings``, in the order in which they are shown."""


def variables() -> tuple[str, ...]:
    """Return the names of all variables, in the order in which they are shown."""
    return tuple(variable.name for variable in VARIABLES.values())
