"""What ``doctor`` finds about Python, its packages and the space on the disks."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from capital_governor import __version__
from capital_governor.cli.doctor.finding import Finding, warned, well, wrong, wrong_now
from capital_governor.cli.typed import SCRIPT

LEAST_PYTHON: Final = (3, 11)
DISTRIBUTION: Final = "capital-governor"
SCARCE_BYTES: Final = 500 * 1024 * 1024
"""With less free space a warning is due: log files grow to 60 MiB each before the oldest goes."""
TOO_FEW_BYTES: Final = 50 * 1024 * 1024
"""With less free space writes are about to fail."""
_MIB: Final = 1024 * 1024
_AT_LEAST: Final = re.compile(r"([A-Za-z0-9._-]+)>=([0-9.]+)(?:,.*)?")


def versions() -> Iterator[Finding]:
    """Yield whether Python and each package are new enough."""
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < LEAST_PYTHON:
        yield wrong("python", f"this is Python {python}, and 3.11 or newer is needed", "install a newer Python")
    else:
        yield well("python", f"Python {python}, {sys.executable}")
    try:
        needed = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield warned(
            "packages",
            f"version {__version__} runs from its source, so that its packages are not known",
            f"install it, or start it by {SCRIPT.name}",
        )
        return
    found = [problem for requirement in needed if (problem := missing(requirement))]
    how = f"{SCRIPT.name} brings them up to date" if SCRIPT.is_file() else "run `pip install --upgrade` for them"
    if found:
        yield wrong("packages", ", ".join(found), how)
    else:
        yield well("packages", f"version {__version__} has all that it needs")


def missing(requirement: str) -> str:
    """Return what is wrong with an installed package, by a requirement such as ``rich>=13.9``; empty if nothing.

    Requirements with a marker are for other uses, such as tests, and are not looked at.
    """
    wanted = _AT_LEAST.fullmatch(requirement.partition(";")[0].strip())
    if ";" in requirement or wanted is None:
        return ""
    name, least = wanted.groups()
    try:
        there = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is not installed"
    return f"{name} {there} is older than {least}" if _release(there) < _release(least) else ""


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers with which a version begins, without zeros at the end."""
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    numbers = tuple(int(part) for part in found[0].split(".")) if found else ()
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    return numbers


def space(root: Path, journal: Path) -> Iterator[Finding]:
    """Yield how much space is left where the root and the journal are."""
    places = {"the root": root, "the journal": journal.parent}
    seen: set[int] = set()
    for name, folder in places.items():
        there = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110 - Path.exists raises where a parent may not be entered
        device = there.stat().st_dev
        if device not in seen:
            seen.add(device)
            yield _space(name, there)


def _space(name: str, folder: Path) -> Finding:
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    text = f"{free // _MIB:,} MiB free where {name} is"
    remedy = f"free some space on the file system of {folder}"
    if found.f_files and not found.f_favail:
        return wrong_now("disk", f"no file can be made any more where {name} is: all inodes are in use", remedy)
    if free < TOO_FEW_BYTES:
        return wrong_now("disk", text, remedy)
    return warned("disk", text, remedy) if free < SCARCE_BYTES else well("disk", text)
