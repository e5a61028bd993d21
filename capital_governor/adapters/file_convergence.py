"""Make the two allocation files equal to what is published, or report how they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, TypeAlias

from capital_governor.adapters import atomic_replacement
from capital_governor.adapters.bounded_reading import MAX_BYTES, read_start
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.refusals import problem
from capital_governor.contracts.allocations import source_of
from capital_governor.core.publication import SOURCE

OverridePolicy: TypeAlias = Literal["assert", "report", "off"]


class FileOutcome(StrEnum):
    """What was done with one file."""

    UNCHANGED = "unchanged"
    WRITTEN = "written"
    DIFFERS = "differs"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class FileResult:
    """What was done with one file.

    Args:
        outcome: DIFFERS means that the file was left as it is on purpose.
        problem: why it FAILED, in one sentence.
        warning: what the file system could not keep when it was WRITTEN, see ``replace``; empty if nothing.
    """

    outcome: FileOutcome
    problem: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Convergence:
    """What was done with both files.

    Args:
        primary: the primary file.
        override: the override file; SKIPPED if the policy is "off".
        found: the ``source`` that an override file with other content named, short and printable, empty if it named
            none; None if the file was missing, unreadable or as wanted.
    """

    primary: FileResult
    override: FileResult
    found: str | None = None

    @property
    def rival(self) -> bool:
        """Whether another program wrote the override: its content was another, and its source is not the governor."""
        return self.found is not None and self.found != SOURCE

    @property
    def warning(self) -> str:
        """The warning of the first file that has one; empty if neither has."""
        return self.primary.warning or self.override.warning


class _StopError(Exception):
    """The STOP file was found right before the rename."""


def converge(
    paths: Paths,
    primary: bytes,
    override: bytes,
    *,
    policy: OverridePolicy,
    stopped: Callable[[], bool],
    own: bytes | None = None,
) -> Convergence:
    """Write both files where they differ from the given bytes, the primary first.

    Failures of the disk are returned, not raised. A failure of one file does not stop the other.

    Args:
        paths: where the files are.
        primary: the wanted content of the primary file.
        override: the wanted content of the override file.
        policy: "assert" rewrites an override that differs or is missing, "report" only reports it, "off" neither reads
            nor writes it.
        stopped: asked before a file is written and again right before its rename; once it returns True, nothing more is
            written.
        own: the governor's former content of the override; found there, it need not be parsed for its source.
    """
    first, _ = _converge_file(paths, paths.primary, primary, stopped)
    if policy == "off":
        return Convergence(first, FileResult(FileOutcome.SKIPPED))
    halt = (lambda: True) if first.outcome is FileOutcome.STOPPED else stopped
    second, content = _converge_file(paths, paths.override, override, halt if policy == "assert" else None)
    found = None if content is None else SOURCE if content == own else source_of(content)
    return Convergence(first, second, found)


def _converge_file(
    paths: Paths, path: Path, wanted: bytes, stopped: Callable[[], bool] | None
) -> tuple[FileResult, bytes | None]:
    """Make one file equal ``wanted``, or only compare if ``stopped`` is None; also return any other content found."""
    content = None
    try:
        content = read_start(path, max(MAX_BYTES, len(wanted)) + 1)
    except OSError as error:
        if stopped is None:
            return FileResult(FileOutcome.FAILED, problem(path, "read", error)), None
    if content == wanted:
        return FileResult(FileOutcome.UNCHANGED), None
    if stopped is None:
        return FileResult(FileOutcome.DIFFERS), content
    # An unreadable file is written too: a new file in its place repairs it. `replace` refuses anything but a file.
    return _write(paths, path, wanted, stopped), content


def _write(paths: Paths, path: Path, wanted: bytes, stopped: Callable[[], bool]) -> FileResult:
    def refuse_when_stopped() -> None:
        if stopped():
            raise _StopError

    try:
        refuse_when_stopped()
        paths.make_folder()
        warning = atomic_replacement.replace(path, wanted, before_rename=refuse_when_stopped)
    except _StopError:
        return FileResult(FileOutcome.STOPPED)
    except OSError as error:
        return FileResult(FileOutcome.FAILED, problem(path, "written", error))
    return FileResult(FileOutcome.WRITTEN, warning=warning)
