"""The two allocation files as a reader sees them, read a second time: from their bytes, with nothing of the program."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.oracle.sight import Published

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Document:
    """One allocation file of ours: what it publishes, and when that was decided, seconds since 1970 UTC."""

    published: Published
    at: float


def read(path: Path) -> Document | None:
    """Return what a file of ours publishes; None where there is no file, or none of ours.

    Without a generation it is the previous program's: generation 0, exposure 1, its shares are its weights.
    """
    content = load(path)
    if content is None or content.get("source") != "capital_governor":
        return None
    shares = {name: round(share * MILLION) for name, share in content["allocations"].items()}
    at = datetime.fromisoformat(content["timestamp"]).replace(tzinfo=UTC).timestamp()
    if "generation" not in content:
        weights = dict(content["allocations"])
        return Document(Published(0, shares, MILLION - sum(shares.values()), weights, 1.0), at)
    published = Published(
        generation=content["generation"],
        shares=shares,
        reserve=round(content["reserve"] * MILLION),
        weights=content.get("weights", {}),
        exposure=content["exposure"],
        withheld=withheld(content),
    )
    return Document(published, at)


def withheld(content: dict[str, Any]) -> dict[str, int]:
    """Return what a primary or a status file says is withheld from each agent; the override does not say it."""
    said = {name: round(part * MILLION) for name, part in (content.get("withheld") or {}).items()}
    return {name: part for name, part in said.items() if part}


def load(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def signed_generation(path: Path) -> int:
    """Return the generation that a file with our signature carries; 0 if it carries none."""
    content = load(path) or {}
    number = content.get("generation")
    ours = content.get("source") == "capital_governor" and type(number) is int and 1 <= number <= 2**52
    return number if ours and isinstance(number, int) else 0
