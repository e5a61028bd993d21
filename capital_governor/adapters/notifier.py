"""What carries a text to the operator, and what may come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Sent:
    """The notice was taken."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It was not, or nobody knows; ``after_seconds`` is the other side's wish, None if it has none."""

    detail: str
    after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It never will be: trying again is of no use."""

    detail: str


Delivery: TypeAlias = Sent | Retry | Refused


class Notifier(Protocol):
    """What carries a text to the operator."""

    async def send(self, text: str) -> Delivery:
        """Try once, for less than a minute. Raises nothing but CancelledError."""

    async def close(self) -> None:
        """Release what is open."""
