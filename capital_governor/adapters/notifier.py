"""The interface of a service that sends messages to the operator, and its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Sent:
    """The message was accepted."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It was not accepted, or that is unknown; ``after_seconds`` is the pause that the service asks for, if any."""

    detail: str
    after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It will never be accepted: do not try again."""

    detail: str


Delivery: TypeAlias = Sent | Retry | Refused


class Notifier(Protocol):
    """Sends messages to the operator."""

    async def send(self, text: str) -> Delivery:
        """Try once to send, in less than a minute. Raises only CancelledError."""

    async def close(self) -> None:
        """Release what is open."""
