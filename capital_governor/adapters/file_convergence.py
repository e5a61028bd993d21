"""Make the two allocation files equal to what is published, or tell how they differ."""

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
    """What became of one file."""

    UNCHANGED = "unchanged"
    WRITTEN = "written"
    DIFFERS = "differs"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file.

    Args:
        outcome: DIFFERS is left alone on purpose.
        problem: the sentence of a FAILED one.
        warning: what the file system could not keep of a WRITTEN one, see ``replace``; empty if all was kept.
    """

    outcome: FileOutcome
    problem: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Convergence:
    """What became of both files.

    Args:
        primary: the primary file.
        override: the override file; SKIPPED where the policy is "off".
        found: the ``source`` that the override named where its content was not the wanted one, printable and short,
            empty if it names none; None where there was no file, or the wanted content, or nothing that can be read.
    """

    primary: FileResult
    override: FileResult
    found: str | None = None

    @property
    def rival(self) -> bool:
        """Whether somebody else wrote the override: it held something else than wanted, and not signed by us."""
        return self.found is not None and self.found != SOURCE

    @property
    def warning(self) -> str:
        """What a file system could not keep of a file that was written, the first if of both; empty if all was kept."""
        return self.primary.warning or self.override.warning


class _StopError(Exception):
    """STOP was seen right before the rename."""


def converge(
    paths: Paths,
    primary: bytes,
    override: bytes,
    *,
    policy: OverridePolicy,
    stopped: Callable[[], bool],
    own: bytes | None = None,
) -> Convergence:
    """Make both files equal the given bytes, the primary first; what is equal already is not touched.

    Under "assert" the override is rewritten, under "report" a difference (a missing file included) is only told,
    under "off" the file is neither read nor written. ``stopped`` is asked before a file is written and again right
    before its rename; once it says yes, nothing more is written. Failures of the disk are returned, and that of one
    file does not stop the other. ``own`` is what the override is known to have been before, so that it need not be
    parsed to see that it is signed by us.
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
    """Make one file equal ``wanted`` (only compare, if ``stopped`` is None); also return what else was found there."""
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
    # What cannot be read is written too: a new file in its place is the repair, and replace refuses what is no file.
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
