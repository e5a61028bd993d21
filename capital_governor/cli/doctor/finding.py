"""One line of ``doctor``: what was looked at, whether it is well, and what to do if it is not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from capital_governor.contracts.exit_codes import CONFIGURATION, OK, TEMPORARY


class Health(StrEnum):
    """How well something is. A warning lets the governor govern; what is wrong keeps it from it, or is dangerous."""

    WELL = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    Args:
        subject: what was looked at, in one or two words.
        health: how well it is.
        text: what was found, in one clause.
        remedy: what to do; empty if nothing.
        code: the exit code that ``doctor`` ends with if nothing worse is found.
    """

    subject: str
    health: Health
    text: str
    remedy: str = ""
    code: int = OK


def well(subject: str, text: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(subject, Health.WELL, text)


def warned(subject: str, text: str, remedy: str) -> Finding:
    """Return that something should be looked at."""
    return Finding(subject, Health.WARNING, text, remedy)


def wrong_now(subject: str, text: str, remedy: str) -> Finding:
    """Return that something is wrong that may pass: exit code 75."""
    return Finding(subject, Health.WRONG, text, remedy, TEMPORARY)


def wrong(subject: str, text: str, remedy: str) -> Finding:
    """Return that something is wrong until a person acts: exit code 78."""
    return Finding(subject, Health.WRONG, text, remedy, CONFIGURATION)


def parted(text: str, remedy: str) -> tuple[str, str]:
    """Return a text and its remedy, which many texts have behind a semicolon; else the given one."""
    said, _, rest = text.partition("; ")
    return said, rest or remedy
