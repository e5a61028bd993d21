"""Every setting: the variable that sets it, its kind, and what it is where nothing is set. Standard library only."""

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
        kind: what it takes.
        default: a value that its kind reads, or None.
        secret: whether its value is never shown.
    """

    name: str
    kind: Kind
    default: Any
    secret: bool = False


def _own(name: str, kind: Kind, default: object, *, secret: bool = False) -> Variable:
    return Variable(PREFIX + name, kind, default, secret)


VARIABLES: Final[Mapping[str, Variable]] = {
    "root": Variable(ROOT, kinds.FOLDER, Path()),
    "dashboard_url": Variable("NEOLIGHT_DASHBOARD_URL", kinds.DASHBOARD, "http://localhost:8100"),
    "telegram_bot_token": Variable("TELEGRAM_BOT_TOKEN", kinds.TOKEN, None, secret=True),
    "telegram_chat_id": Variable("TELEGRAM_CHAT_ID", kinds.CHAT, None),
    "telegram_topic_id": Variable("TELEGRAM_TOPIC_ID", kinds.TOPIC, None),
    "telegram_api_base_url": Variable("TELEGRAM_API_BASE_URL", kinds.BOT_API, "https://api.telegram.org/bot"),
    "interval_seconds": _own("INTERVAL", kinds.INTERVAL, 300.0),
    "min_alloc": _own("MIN_ALLOC", kinds.RATIO, 0.05),
    "max_alloc": _own("MAX_ALLOC", kinds.POSITIVE_RATIO, 0.40),
    "threshold": _own("THRESHOLD", kinds.RATIO, 0.10),
    "derisk_threshold": _own("DERISK_THRESHOLD", kinds.RATIO, 0.05),
    "turnover_threshold": _own("TURNOVER_THRESHOLD", kinds.RATIO, 0.20),
    "cooldown_seconds": _own("COOLDOWN", kinds.SECONDS, 0.0),
    "confirm_cycles": _own("CONFIRM_CYCLES", kinds.POSITIVE_COUNT, 1),
    "max_step": _own("MAX_STEP", kinds.POSITIVE_RATIO, 1.0),
    "probation_cycles": _own("PROBATION", kinds.COUNT, 0),
    "membership_grace_cycles": _own("MEMBERSHIP_GRACE", kinds.COUNT, 3),
    "max_age_set_seconds": _own("MAX_AGE", kinds.AGE, None),
    "pnl_weight": _own("PNL_WEIGHT", kinds.RATIO, 0.40),
    "sharpe_weight": _own("SHARPE_WEIGHT", kinds.RATIO, 0.30),
    "winrate_weight": _own("WINRATE_WEIGHT", kinds.RATIO, 0.20),
    "drawdown_weight": _own("DRAWDOWN_WEIGHT", kinds.RATIO, 0.10),
    "pnl_scale": _own("PNL_SCALE", kinds.POSITIVE, 10_000.0),
    "sharpe_scale": _own("SHARPE_SCALE", kinds.POSITIVE, 3.0),
    "drawdown_scale_percent": _own("DRAWDOWN_SCALE", kinds.POSITIVE, 20.0),
    "drawdown_cut_start_percent": _own("DRAWDOWN_CUT_START", kinds.PERCENT, 5.0),
    "drawdown_cut_end_percent": _own("DRAWDOWN_CUT_END", kinds.PERCENT, 15.0),
    "drawdown_cut_floor": _own("DRAWDOWN_CUT_FLOOR", kinds.RATIO, 0.25),
    "dashboard_token": _own("DASHBOARD_TOKEN", kinds.DASHBOARD_TOKEN, None, secret=True),
    "fetch_deadline_seconds": _own("FETCH_DEADLINE", kinds.DEADLINE, 20.0),
    "fetch_max_bytes": _own("FETCH_MAX_BYTES", kinds.SIZE, 16 << 20),
    "override": _own("OVERRIDE", kinds.OVERRIDE, "assert"),
    "journal": _own("JOURNAL", kinds.FILE, Path("state/capital_governor.sqlite3")),
    "journal_days": _own("JOURNAL_DAYS", kinds.DAYS, 90.0),
    "log_format": _own("LOG_FORMAT", kinds.FORMAT, "console"),
    "log_level": _own("LOG_LEVEL", kinds.LEVEL, "INFO"),
    "heartbeat_url": _own("HEARTBEAT_URL", kinds.HEARTBEAT, None, secret=True),
    "digest_hour": _own("DIGEST_HOUR", kinds.HOUR, None),
    "hive": _own("HIVE", kinds.SWITCH, default=False),
    "hive_capital": _own("HIVE_CAPITAL", kinds.POSITIVE, 100_000.0),
}
"""By field of ``Settings``, in the order in which they are shown."""


def variables() -> tuple[str, ...]:
    """Return the names of all variables, in the order in which they are shown."""
    return tuple(variable.name for variable in VARIABLES.values())
