"""Settings: the environment over ``.env`` in the root over the defaults, checked as a whole.

``.env`` is shared with other programs: their variables are ignored whatever they contain, but an unknown
``CAPITAL_GOVERNOR_*`` is refused, since a misspelt limit would silently be no limit. It is read as data: ``${...}`` and
``$(...)`` are not replaced. An empty value counts as not set.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from capital_governor.core.model import Rules
from capital_governor.settings.dotenv import printable, read_env_file
from capital_governor.settings.fields import (
    BOT_TOKEN,
    UNITS,
    Age,
    BotApi,
    Chat,
    Count,
    Dashboard,
    DashboardToken,
    Days,
    Deadline,
    File,
    Format,
    Heartbeat,
    Hour,
    Interval,
    Level,
    Override,
    Percent,
    Positive,
    PositiveCount,
    PositiveRatio,
    Ratio,
    Root,
    Seconds,
    Size,
    Switch,
    Token,
    Topic,
)

PREFIX: Final = "CAPITAL_GOVERNOR_"
HIDDEN: Final = "********"
NOT_SET: Final = "(not set)"
ROOT: Final = "NEOLIGHT_ROOT"

_SHORTEST_SECRET: Final = 6
_SHORTEST_KEY: Final = 16
_LONGEST_SHOWN: Final = 80
_SECRET_FIELDS: Final = ("telegram_bot_token", "heartbeat_url", "dashboard_token")


class SettingsError(ValueError):
    """The settings are refused. ``faults`` has one line each: variable, offending value (no secrets), what it takes."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def _variable(name: str, default: object) -> Any:  # noqa: ANN401 - what Field returns
    return Field(default, validation_alias=name)


def _own(name: str, default: object) -> Any:  # noqa: ANN401 - what Field returns
    return _variable(PREFIX + name, default)


# --- where values come from -----------------------------------------------------------------------------------------


class Layer(PydanticBaseSettingsSource):
    """One place that sets variables: the environment or ``.env``. The root is never taken from here."""

    def __init__(self, settings_cls: type[BaseSettings], name: str, variables: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        known = {info.validation_alias for info in settings_cls.model_fields.values()}
        self.name = name
        self.given = {key: value for key, value in variables.items() if key in known - {ROOT} and value}
        self.strangers = sorted(key for key in variables if key.upper().startswith(PREFIX) and key not in known)

    def without(self, names: Iterable[str]) -> Layer:
        """Return this layer less some variables."""
        dropped = set(names)
        kept = {key: value for key, value in self.given.items() if key not in dropped}
        return Layer(self.settings_cls, self.name, kept)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the text set for a field (None: not set), the field's variable, and that it is never JSON."""
        variable = str(field.validation_alias or field_name)
        return self.given.get(variable), variable, False

    def __call__(self) -> dict[str, Any]:
        """Return every variable that is set here."""
        return dict(self.given)


_layers: ContextVar[tuple[Layer, ...]] = ContextVar("_layers", default=())


class Settings(BaseSettings):
    """Every setting, validated. ``load`` fills it from its sources; the constructor alone takes keywords only.

    Shares and ratios are 0..1; names carry all other units.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        case_sensitive=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        validate_default=False,
    )

    root: Root = _variable(ROOT, Path())
    dashboard_url: Dashboard = _variable("NEOLIGHT_DASHBOARD_URL", "http://localhost:8100")
    telegram_bot_token: Token = _variable("TELEGRAM_BOT_TOKEN", None)
    telegram_chat_id: Chat = _variable("TELEGRAM_CHAT_ID", None)
    telegram_topic_id: Topic = _variable("TELEGRAM_TOPIC_ID", None)
    telegram_api_base_url: BotApi = _variable("TELEGRAM_API_BASE_URL", "https://api.telegram.org/bot")

    interval_seconds: Interval = _own("INTERVAL", 300.0)
    min_alloc: Ratio = _own("MIN_ALLOC", 0.05)
    max_alloc: PositiveRatio = _own("MAX_ALLOC", 0.40)
    threshold: Ratio = _own("THRESHOLD", 0.10)
    derisk_threshold: Ratio = _own("DERISK_THRESHOLD", 0.05)
    turnover_threshold: Ratio = _own("TURNOVER_THRESHOLD", 0.20)
    cooldown_seconds: Seconds = _own("COOLDOWN", 0.0)
    confirm_cycles: PositiveCount = _own("CONFIRM_CYCLES", 1)
    max_step: PositiveRatio = _own("MAX_STEP", 1.0)
    probation_cycles: Count = _own("PROBATION", 0)
    membership_grace_cycles: Count = _own("MEMBERSHIP_GRACE", 3)
    max_age_set_seconds: Age = _own("MAX_AGE", None)

    pnl_weight: Ratio = _own("PNL_WEIGHT", 0.40)
    sharpe_weight: Ratio = _own("SHARPE_WEIGHT", 0.30)
    winrate_weight: Ratio = _own("WINRATE_WEIGHT", 0.20)
    drawdown_weight: Ratio = _own("DRAWDOWN_WEIGHT", 0.10)
    pnl_scale: Positive = _own("PNL_SCALE", 10_000.0)
    sharpe_scale: Positive = _own("SHARPE_SCALE", 3.0)
    drawdown_scale_percent: Positive = _own("DRAWDOWN_SCALE", 20.0)
    drawdown_cut_start_percent: Percent = _own("DRAWDOWN_CUT_START", 5.0)
    drawdown_cut_end_percent: Percent = _own("DRAWDOWN_CUT_END", 15.0)
    drawdown_cut_floor: Ratio = _own("DRAWDOWN_CUT_FLOOR", 0.25)

    dashboard_token: DashboardToken = _own("DASHBOARD_TOKEN", None)
    fetch_deadline_seconds: Deadline = _own("FETCH_DEADLINE", 20.0)
    fetch_max_bytes: Size = _own("FETCH_MAX_BYTES", 16 << 20)
    override: Override = _own("OVERRIDE", "assert")
    journal: File = _own("JOURNAL", Path("state/capital_governor.sqlite3"))
    journal_days: Days = _own("JOURNAL_DAYS", 90.0)
    log_format: Format = _own("LOG_FORMAT", "console")
    log_level: Level = _own("LOG_LEVEL", "INFO")
    heartbeat_url: Heartbeat = _own("HEARTBEAT_URL", None)
    digest_hour: Hour = _own("DIGEST_HOUR", None)
    hive: Switch = _own("HIVE", default=False)
    hive_capital: Positive = _own("HIVE_CAPITAL", 100_000.0)

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what ``load`` found: the built-in sources would read ``os.environ`` and interpolate ``.env``."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings, *_layers.get())

    @model_validator(mode="after")
    def _check_together(self) -> Settings:
        if conflicts := list(_conflicts(self)):
            text = "\n".join(text for _, text in conflicts)
            raise PydanticCustomError("conflict", "{text}", {"text": text, "conflicts": conflicts})
        return self

    @property
    def max_age_seconds(self) -> float:
        """How old a payload may be: as set, else the larger of 900 and three intervals."""
        return max(900.0, 3 * self.interval_seconds) if self.max_age_set_seconds is None else self.max_age_set_seconds

    @property
    def journal_path(self) -> Path:
        """The journal's file: absolute, or as relative as the root is."""
        return self.root / self.journal

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each variable's value is from: "argument", "environment", ".env", "current folder" or "default"."""
        return {name: self._origins.get(name, "default") for name in variables()}

    def rules(self) -> Rules:
        """Return the part of the settings that a decision may know."""
        return Rules(**{rule.name: getattr(self, rule.name) for rule in fields(Rules)})

    def secrets(self) -> tuple[str, ...]:
        """Return every text that must not be shown: the secrets, and the telling parts of each."""
        found: list[str] = []
        for secret in (getattr(self, name) for name in _SECRET_FIELDS):
            if secret is not None:
                text = secret.get_secret_value()
                found += [text, *_telling(text)]
        return tuple(dict.fromkeys(found))

    def masked(self) -> dict[str, str]:
        """Return every variable's value as text, by variable, in the order of the fields; secrets are hidden."""
        return {_name(field): self._text(field) for field in type(self).model_fields}

    def _text(self, field: str) -> str:
        value: Any = self.max_age_seconds if field == "max_age_set_seconds" else getattr(self, field)
        if value is None:
            return NOT_SET
        if isinstance(value, SecretStr):
            return HIDDEN
        if field == "fetch_max_bytes" and value % UNITS["MIB"] == 0:
            return f"{value >> 20} MiB"
        return _plain(value)


def variables() -> tuple[str, ...]:
    """Return the names of all variables, in the order in which ``masked`` shows them."""
    return tuple(_name(field) for field in Settings.model_fields)


def load(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check all settings. The root need not be writable: who only looks writes nothing.

    Args:
        root: the ``--root`` argument; without it NEOLIGHT_ROOT of the environment, else the current folder.
        environ: the environment; None is that of the process.

    Raises:
        SettingsError: something is wrong with any of them; all that is wrong is in its ``faults``.
    """
    environ = os.environ if environ is None else environ
    folder, origin = _root(root, environ)
    layers, faults = _sources(folder, environ)
    settings, refused = _build(folder, layers)
    if (problem := check_root(folder)) is not None:
        faults.insert(0, _refused_root(folder, origin, problem))
    faults += refused
    if settings is None or faults:
        raise SettingsError(tuple(faults))
    for layer in reversed(layers):
        settings._origins.update(dict.fromkeys(layer.given, layer.name))  # noqa: SLF001 - load completes what it builds
    settings._origins[ROOT] = origin  # noqa: SLF001
    return settings


def load_place(root: Path | None = None, environ: Mapping[str, str] | None = None) -> tuple[Settings, tuple[str, ...]]:
    """Read what a command needs that only looks, or puts down an order: where the root and its journal are.

    Nothing else that is wrong, in a ``.env`` that other programs share, may take the operator's hand off a running
    governor.

    Args:
        root: see ``load``.
        environ: see ``load``.

    Returns:
        The settings, and all that is wrong with them; if anything is, all settings but these two are the defaults.

    Raises:
        SettingsError: root or journal cannot be told.
    """
    environ = os.environ if environ is None else environ
    folder, origin = _root(root, environ)
    if (problem := check_root(folder)) is not None:
        raise SettingsError((_refused_root(folder, origin, problem),))
    layers, faults = _sources(folder, environ)
    settings, refused = _build(folder, layers)
    faults += refused
    if settings is None or faults:
        others = set(variables()) - {_name("journal")}
        settings, refused = _build(folder, tuple(layer.without(others) for layer in layers))
    if settings is None:
        raise SettingsError(tuple(refused))
    return settings, tuple(faults)


def _sources(folder: Path, environ: Mapping[str, str]) -> tuple[tuple[Layer, ...], list[str]]:
    """Return what is set in environment and ``.env``, the first before the second, and which lines are no settings."""
    dotenv, unread = read_env_file(folder / ".env", set(variables()) - {ROOT}, PREFIX)
    layers = (Layer(Settings, "environment", environ), Layer(Settings, ".env", dotenv))
    return layers, unread + [_unknown(name, layer.name) for layer in layers for name in layer.strangers]


def _refused_root(folder: Path, origin: str, problem: str) -> str:
    how = {"argument": "--root ", "environment": f"{ROOT}="}.get(origin, "the root, which is the current folder, ")
    return f"{how}{_shown(str(folder))} {problem}; it takes {Settings.model_fields['root'].description}"


def check_root(root: Path) -> str | None:
    """Return what is wrong with the root folder, one clause without its name; None if it is a folder.

    Whether it can be written to matters to none but those who write, and to them the folders below it may be enough.
    """
    try:
        return None if stat.S_ISDIR(root.stat().st_mode) else "is not a folder"
    except (OSError, ValueError) as error:
        return f"is not a folder ({getattr(error, 'strerror', None) or 'not a path'})"


def _name(field: str) -> str:
    return str(Settings.model_fields[field].validation_alias)


def _field(name: object) -> str:
    return next(field for field, info in Settings.model_fields.items() if info.validation_alias == name)


def _plain(value: object) -> str:
    """Return a value as a user would write it."""
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(int(value)) if isinstance(value, bool) else printable(str(value))


def _telling(secret: str) -> list[str]:
    """Return the parts of a token or of a URL that are long enough to be keys rather than words."""
    _, scheme, rest = secret.partition("://")
    parts = re.split("[/?#&=]+", rest) if scheme else secret.split(":")
    return [part for part in parts[1:] if len(part) >= _SHORTEST_KEY]


# --- what is wrong, in words ----------------------------------------------------------------------------------------


def _shown(value: str, secrets: Iterable[str] = ()) -> str:
    """Return a refused value for an error message, without what is or may be a password, a key or a token."""
    if BOT_TOKEN.search(value) or ("@" in value and re.search("[:/]", value)) or any(key in value for key in secrets):
        return HIDDEN
    if cut := re.search("://[^/?#]*[/?#].", value):  # the path of a URL may be a key
        value = f"{value[: cut.end() - 1]}{HIDDEN}"
    return printable(value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}...")


def _unknown(name: str, where: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only needed to refuse

    match = re.match(r"\w+", name, re.ASCII)
    shown = match[0][:_LONGEST_SHOWN] if match else PREFIX
    own = [known.removeprefix(PREFIX) for known in variables() if known.startswith(PREFIX)]
    near = get_close_matches(shown[len(PREFIX) :].upper(), own, n=1, cutoff=0.5)
    hint = f"did you mean {PREFIX}{near[0]}?" if near else "the example file .env.example lists all names"
    return f"{shown} ({where}) is not a setting; {hint}"


def _conflicts(settings: Settings) -> Iterator[tuple[frozenset[str], str]]:
    """Yield what does not fit together: the fields, and the line that says so."""

    def texts(*names: str) -> list[str]:
        return [f"{_name(name)}={_plain(getattr(settings, name))}" for name in names]

    for low, high in (("min_alloc", "max_alloc"), ("drawdown_cut_start_percent", "drawdown_cut_end_percent")):
        if getattr(settings, low) > getattr(settings, high):
            yield frozenset((low, high)), f"{' is above '.join(texts(low, high))}; lower one or raise the other"
    weights = ("pnl_weight", "sharpe_weight", "winrate_weight", "drawdown_weight")
    total = math.fsum(getattr(settings, name) for name in weights)
    if abs(total - 1) > 1e-9:  # noqa: PLR2004 - what floats of a sum may miss
        yield frozenset(weights), f"{' + '.join(texts(*weights))} add up to {total:.10g}; they must add up to 1"
    if settings.telegram_topic_id is not None and settings.telegram_chat_id is None:
        topic, chat = "telegram_topic_id", "telegram_chat_id"
        yield frozenset((topic, chat)), f"{_name(topic)} is set but {_name(chat)} is not; set the chat that it is of"
    pair = ("telegram_bot_token", "telegram_chat_id")
    given = [name for name in pair if getattr(settings, name) is not None]
    if len(given) == 1:
        (missing,) = set(pair) - set(given)
        yield frozenset(pair), f"{_name(given[0])} is set but {_name(missing)} is not; set both, or neither"


def _build(
    folder: Path, layers: tuple[Layer, ...], without: frozenset[str] = frozenset()
) -> tuple[Settings | None, list[str]]:
    """Build the settings from the layers; again without the faulty fields, to see what else does not fit together."""
    token = _layers.set(tuple(layer.without(map(_name, without)) for layer in layers))
    try:
        return Settings(root=folder), []
    except ValidationError as refusal:
        errors = refusal.errors(include_url=False, include_input=False)
    finally:
        _layers.reset(token)
    if errors[0]["type"] == "conflict":
        return None, [text for involved, text in errors[0]["ctx"]["conflicts"] if not involved & without]
    faulty = {_field(error["loc"][0]): error for error in errors}
    faults = [_fault(field, error["type"], error["msg"], layers) for field, error in faulty.items()]
    return None, faults + _build(folder, layers, frozenset(faulty))[1]


def _fault(field: str, kind: str, message: str, layers: tuple[Layer, ...]) -> str:
    name = _name(field)
    layer = next(layer for layer in layers if name in layer.given)
    given = {each.given.get(_name(secret), "") for each in layers for secret in _SECRET_FIELDS}
    secrets = [part for secret in given if len(secret) >= _SHORTEST_SECRET for part in (secret, *_telling(secret))]
    shown = HIDDEN if field in _SECRET_FIELDS else _shown(layer.given[name], secrets)
    problem = {"problem": message, "literal_error": "is none of these"}.get(kind, "is out of range")
    return f"{name}={shown} ({layer.name}) {problem}; it takes {Settings.model_fields[field].description}"


def _root(argument: Path | None, environ: Mapping[str, str]) -> tuple[Path, str]:
    """Return the absolute root and where it is from."""
    given, origin = (argument, "argument") if argument is not None else (environ.get(ROOT) or None, "environment")
    try:
        return Path(given or "").absolute(), origin if given is not None else "current folder"
    except FileNotFoundError:
        raise SettingsError((f"the current folder is gone; set {ROOT} or give --root",)) from None
