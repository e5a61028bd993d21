"""The two allocation files and the status file: written atomically, read with bounds, made equal to what is published.

Everything here is synchronous and blocks for no longer than the disk does; one single-thread executor calls it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from capital_governor.adapters.durability import SyncError, sync_file, sync_folder
from capital_governor.adapters.refusals import RemediedError, problem
from capital_governor.adapters.rights import PRIVATE, ModeRefusedError, inherit, unwritable
from capital_governor.contracts.allocations import source_of
from capital_governor.core.publication import SOURCE

MAX_BYTES: Final = 16 * 1024 * 1024
"""Ten thousand agents fill about a sixth of this."""
_CHUNK_BYTES: Final = 1 << 16
"""Read at once. Once a larger block was freed, glibc takes such blocks from its heap, which then frays and grows."""

_TEMPORARY: Final = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)

OverridePolicy: TypeAlias = Literal["assert", "report", "off"]


class NotAFile(RemediedError):  # noqa: N818 - stands beside IsADirectoryError, and says what was found rather than what failed
    """Something that is no regular file (folder, FIFO, device, loop of symlinks) where a file of ours belongs."""

    remedy = "move it away"


class _StopError(Exception):
    """STOP was seen right before the rename."""


class Swept(NamedTuple):
    """What became of leftover temporaries: those that are ``gone``, and what kept the others, empty if nothing did."""

    gone: tuple[Path, ...]
    problem: str


# --- where ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the files of one root are. A dry run has its own folder, so that nobody trades on it."""

    root: Path
    dry_run: bool = False

    @property
    def folder(self) -> Path:
        """The folder of all three files."""
        runtime = self.root / "runtime"
        return runtime / "dry_run" if self.dry_run else runtime

    @property
    def primary(self) -> Path:
        """The governor's own allocation file."""
        return self.folder / "capital_governor_allocations.json"

    @property
    def override(self) -> Path:
        """The allocation file that has other writers too."""
        return self.folder / "allocations_override.json"

    @property
    def status(self) -> Path:
        """The status file."""
        return self.folder / "capital_governor_status.json"

    @property
    def lock(self) -> Path:
        """The file whose lock says who governs."""
        return self.folder / "capital_governor.lock"

    def journal(self, live: Path) -> Path:
        """The journal: ``live``, or one of its own for a dry run."""
        return self.folder / "journal.sqlite3" if self.dry_run else live

    def make_folder(self) -> None:
        """Create ``folder`` where it is missing, durably; the root itself must exist. Raises OSError."""
        for folder in (self.root / "runtime", self.folder):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                sync_folder(folder.parent)

    def unwritable(self) -> str:
        """Return which folder would have to be writable for the three files, one sentence; empty if it is.

        The root need not be, where the folders are there. Of what stands in the place of one, ``make_folder`` tells.
        """
        missing: Path | None = None
        for folder in dict.fromkeys((self.folder, self.root / "runtime", self.root)):
            if folder.is_dir():
                reason = unwritable(folder)
                made = f", or make {missing} there for that user" if missing else ""
                return reason and f"{reason}{made}"
            if os.path.lexists(folder):
                break
            missing = folder
        return ""

    def sweep(self) -> Swept:
        """Delete the temporaries that a kill left beside the real files; what cannot be deleted is only told.

        Only for the owner of the root's lock: another governor's temporary may be about to be renamed.
        """
        real = [Path(os.path.realpath(path)) for path in (self.primary, self.override, self.status)]
        swept = [sweep(path.parent, [path.name]) for path in real]
        problems = dict.fromkeys(each.problem for each in swept if each.problem)
        return Swept(tuple(path for each in swept for path in each.gone), " ".join(problems))


# --- writing ----------------------------------------------------------------------------------------------------------


def replace(
    target: Path, content: bytes, *, durable: bool = True, before_rename: Callable[[], None] | None = None
) -> str:
    """Put ``content`` in place of the file at ``target``, so that a reader sees all of the old or all of the new.

    A symlink survives and its real file is replaced. Mode and owner of the old file are kept; a new file gets 0666
    less the umask. With ``durable``, the content and its name have reached the disk on return. ``before_rename`` is
    called when all that is left is to rename; what it raises is propagated and the old file stays.

    Returns:
        What the file system could not keep (mode, owner, what outlasts a power loss), one sentence; empty if all was.

    Raises:
        NotAFile: the real target exists and is no regular file.
        NotKeptError: a reader of the old file could not read the new one, or somebody could who may not.
        OSError: the target's folder is missing or the disk refused; the old file stays, unless only the last fsync,
            that of the folder, failed.
    """
    real = Path(os.path.realpath(target))
    try:
        lacks = _replace_once(real, content, durable, before_rename)
    except SyncError:
        # The kernel may have dropped the unwritten pages and marked them clean: a second fsync of the same file would
        # then report a success that is none. A new file is the only honest second try.
        lacks = _replace_once(real, content, durable, before_rename)
    return f"{real} was written, but {'; '.join(lacks)}" if lacks else ""


def sweep(folder: Path, names: Iterable[str]) -> Swept:
    """Delete from ``folder`` the leftover temporaries of the files called ``names``; what stays is only told.

    Only regular files of exactly the pattern that ``replace`` uses. A missing folder holds nothing.
    """
    wanted = frozenset(names)
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        return Swept((), "")
    except OSError as error:
        return Swept((), f"{folder} could not be searched for leftover temporary files: {error.strerror}.")
    gone, problems = [], []
    for entry in entries:
        try:
            if _is_leftover(entry, wanted):
                entry.unlink(missing_ok=True)
                gone.append(entry)
        except OSError as error:
            problems.append(f"{entry} was left behind and cannot be deleted: {error.strerror}.")
    return Swept(tuple(gone), " ".join(problems))


def _is_leftover(entry: Path, names: frozenset[str]) -> bool:
    match = _TEMPORARY.fullmatch(entry.name)
    return match is not None and match[1] in names and stat.S_ISREG(entry.lstat().st_mode)


def _replace_once(
    real: Path,
    content: bytes,
    durable: bool,  # noqa: FBT001 - private, and the caller hands its own keyword on
    before_rename: Callable[[], None] | None,
) -> list[str]:
    old = _regular(real)
    try:
        return _replace(real, content, durable, before_rename, old, PRIVATE)
    except ModeRefusedError as refused:
        return _replace(real, content, durable, before_rename, old, refused.mode)


def _replace(
    real: Path,
    content: bytes,
    durable: bool,  # noqa: FBT001 - as above
    before_rename: Callable[[], None] | None,
    old: os.stat_result | None,
    mode: int,
) -> list[str]:
    """Replace ``old`` by a file made with ``mode``, and return what was not kept."""
    temporary = real.with_name(f".{real.name}.{os.urandom(8).hex()}.tmp")
    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC
    # What replaces a private file is never readable by others, not even for the moment before fchmod.
    fd = os.open(temporary, flags, 0o666 if old is None else mode)
    lacks = []
    try:
        try:
            if old is not None:
                lacks.append(inherit(fd, old, mode))
            _write_all(fd, content)
            if durable:
                lacks.append(sync_file(fd))
        finally:
            os.close(fd)
        if before_rename is not None:
            before_rename()
        temporary.replace(real)
    except BaseException as error:
        _discard(temporary, error)
        raise
    if durable:
        lacks.append(sync_folder(real.parent))
    return [lack for lack in lacks if lack]


def _regular(real: Path) -> os.stat_result | None:
    """Return the stat of the regular file at ``real``, None where nothing is there. Never opens it: FIFOs block."""
    try:
        found = real.lstat()
    except FileNotFoundError:
        return None
    _refuse_irregular(found.st_mode, real)
    return found


def _refuse_irregular(mode: int, path: Path) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFLNK: "a loop of symlinks"}
    kind = kinds.get(stat.S_IFMT(mode), "a device or a socket")
    raise NotAFile(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, f"is {kind}, not a file", str(path))


def _write_all(fd: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _discard(temporary: Path, error: BaseException) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError as leftover:
        error.add_note(f"{temporary} was left behind: {leftover.strerror}")


# --- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path, max_bytes: int = MAX_BYTES) -> bytes | None:
    """Return the content of the file at ``path``, None if there is none. Never blocks on a FIFO.

    Raises:
        NotAFile: it is no regular file.
        OSError: it cannot be read; EFBIG if it is longer than ``max_bytes``.
    """
    content = _read_start(path, max_bytes + 1)
    if content is not None and len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"is longer than {max_bytes} bytes", str(path))
    return content


def _read_start(path: Path, max_bytes: int) -> bytes | None:
    """Return the first ``max_bytes`` of a file, or all of it if it is shorter."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    content = bytearray()
    try:
        _refuse_irregular(os.fstat(fd).st_mode, path)
        while part := os.read(fd, min(max_bytes - len(content), _CHUNK_BYTES)):
            content += part
    finally:
        os.close(fd)
    return bytes(content)


# --- making the files equal what is published -------------------------------------------------------------------------


class Outcome(StrEnum):
    """What became of one file."""

    UNCHANGED = "unchanged"
    WRITTEN = "written"
    DIFFERS = "differs"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one file.

    Args:
        outcome: DIFFERS is left alone on purpose.
        problem: the sentence of a FAILED one.
        warning: what the file system could not keep of a WRITTEN one, see ``replace``; empty if all was kept.
    """

    outcome: Outcome
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

    primary: Settled
    override: Settled
    found: str | None = None

    @property
    def rival(self) -> bool:
        """Whether somebody else wrote the override: it held something else than wanted, and not signed by us."""
        return self.found is not None and self.found != SOURCE

    @property
    def warning(self) -> str:
        """What a file system could not keep of a file that was written, the first if of both; empty if all was kept."""
        return self.primary.warning or self.override.warning


def converge(
    paths: Paths, primary: bytes, override: bytes, *, policy: OverridePolicy, stopped: Callable[[], bool]
) -> Convergence:
    """Make both files equal the given bytes, the primary first; what is equal already is not touched.

    Under "assert" the override is rewritten, under "report" a difference (a missing file included) is only told,
    under "off" the file is neither read nor written. ``stopped`` is asked before a file is written and again right
    before its rename; once it says yes, nothing more is written. Failures of the disk are returned, and that of one
    file does not stop the other.
    """
    first, _ = _settle(paths, paths.primary, primary, stopped)
    if policy == "off":
        return Convergence(first, Settled(Outcome.SKIPPED))
    halt = (lambda: True) if first.outcome is Outcome.STOPPED else stopped
    second, found = _settle(paths, paths.override, override, halt if policy == "assert" else None)
    return Convergence(first, second, found)


def _settle(paths: Paths, path: Path, wanted: bytes, stopped: Callable[[], bool] | None) -> tuple[Settled, str | None]:
    """Make one file equal ``wanted`` (only compare, if ``stopped`` is None); also return what ``found`` is."""
    found = None
    try:
        content = _read_start(path, max(MAX_BYTES, len(wanted)) + 1)
    except OSError as error:
        if stopped is None:
            return Settled(Outcome.FAILED, problem(path, "read", error)), None
    else:
        if content == wanted:
            return Settled(Outcome.UNCHANGED), None
        found = None if content is None else source_of(content)
    if stopped is None:
        return Settled(Outcome.DIFFERS), found
    # What cannot be read is written too: a new file in its place is the repair, and replace refuses what is no file.
    return _write(paths, path, wanted, stopped), found


def _write(paths: Paths, path: Path, wanted: bytes, stopped: Callable[[], bool]) -> Settled:
    def refuse_when_stopped() -> None:
        if stopped():
            raise _StopError

    try:
        refuse_when_stopped()
        paths.make_folder()
        warning = replace(path, wanted, before_rename=refuse_when_stopped)
    except _StopError:
        return Settled(Outcome.STOPPED)
    except OSError as error:
        return Settled(Outcome.FAILED, problem(path, "written", error))
    return Settled(Outcome.WRITTEN, warning=warning)
