"""The settings as one validated model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import PrivateAttr, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from capital_governor.core.model import Group, Rules
from capital_governor.settings.faults import SettingsError, conflicts, telling_parts
from capital_governor.settings.fleet_name import fleet_name
from capital_governor.settings.sources import find
from capital_governor.settings.value_text import value_text
from capital_governor.settings.variables import VARIABLES, variables


def _default(field: str) -> Any:  # noqa: ANN401 - defaults have many types
    return VARIABLES[field].default


class Settings(BaseSettings):
    """All settings, validated. ``load`` reads them from their sources; the constructor takes keywords.

    Shares and ratios are 0..1; names have the other units.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    root: Path = _default("root")
    dashboard_url: str = _default("dashboard_url")
    telegram_bot_token: SecretStr | None = _default("telegram_bot_token")
    telegram_chat_id: str | None = _default("telegram_chat_id")
    telegram_topic_id: int | None = _default("telegram_topic_id")
    telegram_api_base_url: str = _default("telegram_api_base_url")
    interval_seconds: float = _default("interval_seconds")
    min_alloc: float = _default("min_alloc")
    max_alloc: float = _default("max_alloc")
    min_reserve: float = _default("min_reserve")
    groups: tuple[Group, ...] = _default("groups")
    threshold: float = _default("threshold")
    derisk_threshold: float = _default("derisk_threshold")
    turnover_threshold: float = _default("turnover_threshold")
    profile: Literal["original", "steady"] = _default("profile")
    cooldown_seconds: float = _default("cooldown_seconds")
    confirm_cycles: int = _default("confirm_cycles")
    max_step: float = _default("max_step")
    probation_cycles: int = _default("probation_cycles")
    membership_grace_cycles: int = _default("membership_grace_cycles")
    release_after_cycles: int | None = _default("release_after_cycles")
    max_age_set_seconds: float | None = _default("max_age_set_seconds")
    pnl_weight: float = _default("pnl_weight")
    sharpe_weight: float = _default("sharpe_weight")
    winrate_weight: float = _default("winrate_weight")
    drawdown_weight: float = _default("drawdown_weight")
    pnl_scale: float = _default("pnl_scale")
    sharpe_scale: float = _default("sharpe_scale")
    drawdown_scale_percent: float = _default("drawdown_scale_percent")
    drawdown_cut_start_percent: float = _default("drawdown_cut_start_percent")
    drawdown_cut_end_percent: float = _default("drawdown_cut_end_percent")
    drawdown_cut_floor: float = _default("drawdown_cut_floor")
    dashboard_token: SecretStr | None = _default("dashboard_token")
    fetch_deadline_seconds: float = _default("fetch_deadline_seconds")
    fetch_max_bytes: int = _default("fetch_max_bytes")
    override: Literal["assert", "report", "off"] = _default("override")
    journal: Path = _default("journal")
    journal_days: float = _default("journal_days")
    log_format: Literal["console", "json"] = _default("log_format")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _default("log_level")
    heartbeat_url: SecretStr | None = _default("heartbeat_url")
    digest_hour: int | None = _default("digest_hour")
    name: str | None = _default("name")
    unreachable_minutes: float = _default("unreachable_minutes")
    error_minutes: float = _default("error_minutes")
    stale_minutes: float = _default("stale_minutes")
    agent_minutes: float = _default("agent_minutes")
    hive: bool = _default("hive")
    hive_capital: float = _default("hive_capital")

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use the result of ``find`` only: the built-in sources would expand ``${...}``."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        variable = VARIABLES[info.field_name or ""]
        return None if value is None and variable.default is None else variable.kind.read(value)

    @model_validator(mode="after")
    def _check_together(self) -> Settings:
        if found := list(conflicts(dict(self))):
            raise ValueError("\n".join(found))
        return self

    @property
    def max_age_seconds(self) -> float:
        """How old a payload may be: MAX_AGE, or the larger of 900 s and three intervals if it is not set."""
        return max(900.0, 3 * self.interval_seconds) if self.max_age_set_seconds is None else self.max_age_set_seconds

    @property
    def journal_path(self) -> Path:
        """The journal's file, below the root."""
        return self.root / self.journal

    @property
    def fleet_name(self) -> str:
        """The fleet's name in messages."""
        return fleet_name(self.name, self.root)

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each value is from: "argument", "environment", ".env", "current folder", "profile" or "default"."""
        return {name: self._origins.get(name, "default") for name in variables()}

    def values(self) -> dict[str, Any]:
        """Return the values by field; secrets as plain text."""
        found = ((field, getattr(self, field)) for field in VARIABLES)
        return {field: each.get_secret_value() if isinstance(each, SecretStr) else each for field, each in found}

    def rules(self) -> Rules:
        """Return the settings that a decision depends on."""
        return Rules(**{rule.name: getattr(self, rule.name) for rule in fields(Rules)})

    def secrets(self) -> tuple[str, ...]:
        """Return every text that must not be shown: the secrets, and their parts that may be keys."""
        found: list[str] = []
        for secret in (getattr(self, field) for field, variable in VARIABLES.items() if variable.secret):
            if secret is not None:
                text = secret.get_secret_value()
                found += [text, *telling_parts(text)]
        return tuple(dict.fromkeys(found))

    def masked(self) -> dict[str, str]:
        """Return the values as text, by variable, in the order of the fields; secrets are hidden."""
        return {variable.name: self._text(field) for field, variable in VARIABLES.items()}

    def _text(self, field: str) -> str:
        value: Any = self.max_age_seconds if field == "max_age_set_seconds" else getattr(self, field)
        return value_text(field, value)


def load(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check all settings. The root need not be writable, since some commands only read.

    Args:
        root: the ``--root`` argument; without it NEOLIGHT_ROOT of the environment, else the current folder.
        environ: the environment; None is that of the process.

    Raises:
        SettingsError: with everything that is wrong in its ``faults``.
    """
    found = find(root, environ)
    if found.faults:
        raise SettingsError(found.faults)
    settings = Settings(**found.values)
    settings._origins = found.origins  # noqa: SLF001 - set by this function only
    return settings
