"""Make the two allocation files equal to what is published, or report how they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

    Failures of the disk are returned, not raised. A failure of one file does not stop the other. A power loss before
    this returns may leave each file old or new.

    Args:
        paths: where the files are.
        primary: the wanted content of the primary file.
        override: the wanted content of the override file.
        policy: "assert" rewrites an override that differs or is missing, "report" only reports it, "off" neither reads
            nor writes it.
        stopped: asked before anything is written and again right before each rename; once it returns True, nothing
            more is written.
        own: the governor's former content of the override; found there, it need not be parsed for its source.
    """
    first, _ = _compare(paths.primary, primary, may_write=True)
    if policy != "off":
        second, content = _compare(paths.override, override, may_write=policy == "assert")
    else:
        second, content = FileResult(FileOutcome.SKIPPED), None
    wanted = {}
    if first is None:
        wanted[paths.primary] = primary
    if second is None:
        wanted[paths.override] = override
    done = _write(paths, wanted, stopped) if wanted else {}
    found = None if content is None else SOURCE if content == own else source_of(content)
    return Convergence(first or done[paths.primary], second or done[paths.override], found)


def _compare(path: Path, wanted: bytes, *, may_write: bool) -> tuple[FileResult | None, bytes | None]:
    """Compare one file with ``wanted``: return the result, None if it is to be written, and any other content found."""
    content = None
    try:
        content = read_start(path, max(MAX_BYTES, len(wanted)) + 1)
    except OSError as error:
        # An unreadable file is written too: a new file in its place repairs it. Anything but a file is refused then.
        return None if may_write else FileResult(FileOutcome.FAILED, problem(path, "read", error)), None
    if content == wanted:
        return FileResult(FileOutcome.UNCHANGED), None
    return None if may_write else FileResult(FileOutcome.DIFFERS), content


def _write(paths: Paths, wanted: Mapping[Path, bytes], stopped: Callable[[], bool]) -> dict[Path, FileResult]:
    results = dict.fromkeys(wanted, FileResult(FileOutcome.STOPPED))
    if stopped():
        return results
    done: Mapping[Path, str | OSError]
    try:
        paths.make_folder()
        done = atomic_replacement.replace_all(wanted, stopped=stopped)
    except OSError as error:
        done = dict.fromkeys(wanted, error)
    for path, said in done.items():
        if isinstance(said, OSError):
            results[path] = FileResult(FileOutcome.FAILED, problem(path, "written", said))
        else:
            results[path] = FileResult(FileOutcome.WRITTEN, warning=said)
    return results
