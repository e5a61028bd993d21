"""Messages about wrong settings: the variable, its value (never a secret), and what it takes."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from capital_governor.settings.dotenv import printable
from capital_governor.settings.kinds import BOT_TOKEN
from capital_governor.settings.variables import PREFIX, ROOT, VARIABLES, variables

HIDDEN: Final = "********"
"""Shown in place of a secret."""

_SHORTEST_SECRET: Final = 6
_SHORTEST_KEY: Final = 16
_LONGEST_SHOWN: Final = 80


class SettingsError(ValueError):
    """The settings are refused. ``faults`` has one line for each: variable, value (no secrets), what it takes."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def refused_value(field: str, text: str, origin: str, problem: str, secrets: Iterable[str]) -> str:
    """Return why a variable's value is refused, without any of ``secrets``."""
    variable = VARIABLES[field]
    shown = HIDDEN if variable.secret else _shown(text, secrets)
    return f"{variable.name}={shown} ({origin}) {problem}; it takes {variable.kind.takes}"


def refused_root(folder: str, origin: str, problem: str) -> str:
    """Return why the root is refused, and how it was given."""
    how = {"argument": "--root ", "environment": f"{ROOT}="}.get(origin, "the root, which is the current folder, ")
    return f"{how}{_shown(folder)} {problem}; it takes {VARIABLES['root'].kind.takes}"


def unknown(name: str, origin: str) -> str:
    """Return that a variable is not a setting, and which one may be meant."""
    from difflib import get_close_matches  # noqa: PLC0415 - rarely needed

    match = re.match(r"\w+", name, re.ASCII)
    shown = match[0][:_LONGEST_SHOWN] if match else PREFIX
    own = [known.removeprefix(PREFIX) for known in variables() if known.startswith(PREFIX)]
    near = get_close_matches(shown[len(PREFIX) :].upper(), own, n=1, cutoff=0.5)
    hint = f"did you mean {PREFIX}{near[0]}?" if near else "the example file .env.example lists all names"
    return f"{shown} ({origin}) is not a setting; {hint}"


def conflicts(values: Mapping[str, Any], faulty: Collection[str] = ()) -> Iterator[str]:
    """Yield values that contradict each other; fields that are faulty themselves are skipped."""

    def texts(*fields: str) -> list[str]:
        return [f"{VARIABLES[field].name}={plain(values[field])}" for field in fields]

    def sound(*fields: str) -> bool:
        return not set(fields) & set(faulty)

    for low, high in (("min_alloc", "max_alloc"), ("drawdown_cut_start_percent", "drawdown_cut_end_percent")):
        if sound(low, high) and values[low] > values[high]:
            yield f"{' is above '.join(texts(low, high))}; lower one or raise the other"
    weights = ("pnl_weight", "sharpe_weight", "winrate_weight", "drawdown_weight")
    total = math.fsum(values[field] for field in weights)
    if sound(*weights) and abs(total - 1) > 1e-9:  # noqa: PLR2004 - float rounding
        yield f"{' + '.join(texts(*weights))} add up to {total:.10g}; they must add up to 1"
    topic, chat, token = "telegram_topic_id", "telegram_chat_id", "telegram_bot_token"
    if sound(topic, chat) and values[topic] is not None and values[chat] is None:
        yield (f"{VARIABLES[topic].name} is set but {VARIABLES[chat].name} is not; set the chat that it is of")
    for one, other in ((token, chat), (chat, token)):
        if sound(one, other) and values[one] is not None and values[other] is None:
            yield f"{VARIABLES[one].name} is set but {VARIABLES[other].name} is not; set both, or neither"


def plain(value: object) -> str:
    """Return a value as a user would write it."""
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(int(value)) if isinstance(value, bool) else printable(str(value))


def telling_parts(secret: str) -> list[str]:
    """Return the parts of a token or URL that are long enough to be keys."""
    _, scheme, rest = secret.partition("://")
    parts = re.split("[/?#&=]+", rest) if scheme else secret.split(":")
    return [part for part in parts[1:] if len(part) >= _SHORTEST_KEY]


def secret_texts(given: Iterable[str]) -> list[str]:
    """Return the given secrets, if not too short, and their parts that may be keys."""
    return [part for text in given if len(text) >= _SHORTEST_SECRET for part in (text, *telling_parts(text))]


def _shown(value: str, secrets: Iterable[str] = ()) -> str:
    """Return a refused value for a message, without anything that may be a password, a key or a token."""
    if BOT_TOKEN.search(value) or ("@" in value and re.search("[:/]", value)) or any(key in value for key in secrets):
        return HIDDEN
    if cut := re.search("://[^/?#]*[/?#].", value):  # the path of a URL may be a key
        value = f"{value[: cut.end() - 1]}{HIDDEN}"
    return printable(value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}...")
