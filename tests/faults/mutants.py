"""Mutants of the product that writes files: each worsens the process that calls it, as a careless change would."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from capital_governor.adapters import atomic_replacement, file_convergence, permissions
from capital_governor.adapters.atomic_replacement import Swept
from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.adapters.durability import sync_folder
from capital_governor.adapters.file_convergence import Convergence, OverridePolicy
from capital_governor.adapters.paths import Paths

REAL_CONVERGE: Final = file_convergence.converge
REAL_REPLACE_ALL: Final = atomic_replacement.replace_all
REAL_DISCARD: Final = atomic_replacement._discard


class StoppedError(Exception):
    """STOP was there before the rename."""


def refuse_if(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise StoppedError


def one_by_one(
    replace: Callable[[Path, bytes, bool, Callable[[], bool]], None],
) -> Callable[..., dict[Path, str | OSError]]:
    """Return a mutant of ``replace_all`` that replaces each file in this way."""

    def replace_all(
        contents: Mapping[Path, bytes], *, durable: bool = True, stopped: Callable[[], bool] = lambda: False
    ) -> dict[Path, str | OSError]:
        done: dict[Path, str | OSError] = {}
        for target, content in contents.items():
            try:
                replace(target, content, durable, stopped)
                done[target] = ""
            except StoppedError:
                break
            except OSError as error:
                done[target] = error
        return done

    return replace_all


def in_place(target: Path, content: bytes, durable: bool, stopped: Callable[[], bool]) -> None:
    """Write over the old content, in two pieces."""
    refuse_if(stopped)
    fd = os.open(os.path.realpath(target), os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o666)
    half = len(content) // 2
    os.write(fd, content[:half])
    os.write(fd, content[half:])
    if durable:
        os.fsync(fd)
    os.close(fd)


def order_swapped(target: Path, content: bytes, durable: bool, stopped: Callable[[], bool]) -> None:
    """Rename first, sync the content afterwards."""
    real = Path(os.path.realpath(target))
    temporary = real.with_name(f".{real.name}.0123456789abcdef.tmp")
    fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    atomic_replacement._write_all(fd, content)
    refuse_if(stopped)
    temporary.replace(real)
    if durable:
        os.fsync(fd)
    os.close(fd)
    if durable:
        sync_folder(real.parent)


def override_after_the_primary_only(
    paths: Paths,
    primary: bytes,
    override: bytes,
    *,
    policy: OverridePolicy,
    stopped: Callable[[], bool],
    own: bytes | None = None,
) -> Convergence:
    """Write the override only together with the primary."""
    ours = policy if read_bounded(paths.primary) != primary else "off"
    return REAL_CONVERGE(paths, primary, override, policy=ours, stopped=stopped, own=own)


def temporary_beside_the_link(target: Path, content: bytes, durable: bool, stopped: Callable[[], bool]) -> None:
    """Make the temporary where the link is, whatever file system the real file is on."""
    del durable
    _rename_beside(target, content, stopped, Path(os.path.realpath(target)))


def link_replaced(target: Path, content: bytes, durable: bool, stopped: Callable[[], bool]) -> None:
    """Put a file in place of a symlink."""
    del durable
    _rename_beside(target, content, stopped, target)


def _rename_beside(target: Path, content: bytes, stopped: Callable[[], bool], goal: Path) -> None:
    temporary = target.with_name(f".{target.name}.0123456789abcdef.tmp")
    temporary.write_bytes(content)
    try:
        refuse_if(stopped)
        temporary.replace(goal)
    except BaseException:
        temporary.unlink()
        raise


def dropped_errors(
    contents: Mapping[Path, bytes], *, durable: bool = True, stopped: Callable[[], bool] = lambda: False
) -> dict[Path, str | OSError]:
    """Take a failed write for a success."""
    done = REAL_REPLACE_ALL(contents, durable=durable, stopped=stopped)
    return {target: "" if isinstance(said, OSError) else said for target, said in done.items()}


def descriptor_left(temporary: Path, error: BaseException | None) -> None:
    """Clean up after a failure, and forget to close a file."""
    os.open(temporary.parent, os.O_RDONLY)
    REAL_DISCARD(temporary, error)


def leaving_temporaries(temporary: Path, error: BaseException | None) -> None:
    """Clean nothing up after a failure."""


def keeping(*_: object) -> str:
    """Do nothing, and say that all was kept."""
    return ""


CHANGES: Final[Mapping[str, tuple[object, str, Any]]] = {
    "written in place": (atomic_replacement, "replace_all", one_by_one(in_place)),
    "order swapped": (atomic_replacement, "replace_all", one_by_one(order_swapped)),
    "no fsync": (atomic_replacement, "sync_file", keeping),
    "no folder fsync": (atomic_replacement, "sync_folder", keeping),
    "temporaries left": (atomic_replacement, "_discard", leaving_temporaries),
    "override only with the primary": (file_convergence, "converge", override_after_the_primary_only),
    "errors dropped": (atomic_replacement, "replace_all", dropped_errors),
    "descriptors left": (atomic_replacement, "_discard", descriptor_left),
    "mode and owner forgotten": (atomic_replacement, "inherit", keeping),
    "mode kept for another group": (permissions, "_permitted", lambda old, _: stat.S_IMODE(old.st_mode)),
    "readers forgotten": (permissions, "_refuse_losses", lambda *_: None),
    "temporary beside the link": (atomic_replacement, "replace_all", one_by_one(temporary_beside_the_link)),
    "link replaced": (atomic_replacement, "replace_all", one_by_one(link_replaced)),
    "no sweep": (Paths, "sweep", lambda _: Swept((), "")),
}
"""What each mutant puts in whose place."""


def _apply(owner: object, attribute: str, value: object) -> Callable[[], None]:
    return lambda: setattr(owner, attribute, value)


MUTANTS: Final = {name: _apply(*change) for name, change in CHANGES.items()}
"""Make this process the mutant, for good."""


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Be the mutant inside the block."""
    owner, attribute, _ = CHANGES[name]
    before = vars(owner)[attribute]
    MUTANTS[name]()
    try:
        yield
    finally:
        setattr(owner, attribute, before)
