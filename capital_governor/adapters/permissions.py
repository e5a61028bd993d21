"""Keeps mode, owner and group of a replaced file, gives new files to the folder's owner, checks write access."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from capital_governor.adapters.refusals import REFUSED, REMEDIES, RemediedError

PRIVATE: Final = 0o600
_NO_RIGHT: Final = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


class NotKeptError(RemediedError):
    """With the mode and owner that this user can set, other users would lose or gain access to the file."""

    def __init__(self, happens: str, remedy: str) -> None:
        super().__init__(errno.EPERM, happens)
        self.remedy = remedy


class ModeRefusedError(Exception):
    """The file system cannot change a file's mode; make the file with ``mode``."""

    def __init__(self, mode: int) -> None:
        super().__init__(f"{mode:04o}")
        self.mode = mode


# --- replaced files ---------------------------------------------------------------------------------------------------


def inherit(fd: int, old: os.stat_result, made_with: int = PRIVATE) -> str:
    """Give a new, empty file the owner, group and mode of the file that it replaces; return what could not be kept.

    File systems without owners and modes (CIFS, FUSE, object stores) refuse to change them. Whatever they refuse: no
    user but the writing one may gain access to the file, and no reader may lose it.

    Args:
        fd: the new file, opened for writing.
        old: the stat of the file that it replaces.
        made_with: the mode with which it was made.

    Returns:
        One clause for the operator; empty if all was kept.

    Raises:
        ModeRefusedError: make the file again, with this mode.
        NotKeptError: a reader would lose access, or another user gain it.
        OSError: the disk refused.
    """
    made = os.fstat(fd)
    given = made.st_uid != old.st_uid and _try_to_own(fd, old.st_uid, old.st_gid)
    if not given and made.st_gid != old.st_gid:
        # A user who may not change the owner may still change the group to one of their own.
        _try_to_own(fd, -1, old.st_gid)
    owned = os.fstat(fd)
    mode = _permitted(old, owned)
    if stat.S_IMODE(owned.st_mode) != mode:  # after chown, which clears bits
        changed = _try_to_change_mode(fd, mode)
        same = (owned.st_uid, owned.st_gid) == (made.st_uid, made.st_gid)
        if not changed and same and made_with != mode:
            raise ModeRefusedError(mode)
    kept = os.fstat(fd)
    _refuse_gains(kept, mode)
    _refuse_losses(old, kept)
    return _not_kept(old, kept)


def _try_to_own(fd: int, uid: int, gid: int) -> bool:
    try:
        os.fchown(fd, uid, gid)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        return False
    return True


def _try_to_change_mode(fd: int, mode: int) -> bool:
    try:
        os.fchmod(fd, mode)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        return False
    return True


def _permitted(old: os.stat_result, new: os.stat_result) -> int:
    """Return the mode with which no user can do more with ``new`` than with ``old``, given the owner of each."""
    mode = stat.S_IMODE(old.st_mode)
    if (old.st_uid, old.st_gid) == (new.st_uid, new.st_gid):
        return mode
    if old.st_gid != new.st_gid:
        # Members of the old group now count as others, and members of the new one did before.
        both = (mode >> 3) & mode & 0o7
        mode = (mode & 0o700) | both << 3 | both
    return mode & 0o777


def _refuse_gains(new: os.stat_result, permitted: int) -> None:
    if new.st_mode & ~permitted & 0o066:
        raise NotKeptError(
            f"it would have mode {stat.S_IMODE(new.st_mode):04o}, and more users than before could read or write it",
            "delete it if they may: the next one is made anew",
        )


def _refuse_losses(old: os.stat_result, new: os.stat_result) -> None:
    for_everybody = "let everybody read the file (chmod a+r)"
    everybody = not ~new.st_mode & 0o044
    same_group = old.st_gid == new.st_gid
    if old.st_mode & 0o400 and old.st_uid != new.st_uid and not everybody and not (same_group and new.st_mode & 0o040):
        raise NotKeptError(
            f"its owner, uid {old.st_uid}, could not read it any more, since it cannot be given back",
            f"run the governor as that user, or {for_everybody}",
        )
    if old.st_mode & 0o040 and not everybody and not same_group:
        raise NotKeptError(
            f"its group, gid {old.st_gid}, could not read it any more, since it cannot be given back",
            f"put the governor's user into that group, or {for_everybody}",
        )
    if old.st_mode & ~new.st_mode & 0o044:
        raise NotKeptError(
            f"it would have mode {stat.S_IMODE(new.st_mode):04o}, and who can read it now could not any more",
            "start the governor with a umask of 022, or put the folder on a file system with modes of its own",
        )


def _not_kept(old: os.stat_result, new: os.stat_result) -> str:
    what = []
    if old.st_uid != new.st_uid:
        what.append(f"owner (uid {old.st_uid}, now {new.st_uid})")
    if old.st_gid != new.st_gid:
        what.append(f"group (gid {old.st_gid}, now {new.st_gid})")
    if (before := stat.S_IMODE(old.st_mode)) != (now := stat.S_IMODE(new.st_mode)):
        what.append(f"mode ({before:04o}, now {now:04o})")
    return f"it could not keep its {' and '.join(what)}" if what else ""


# --- files made by root -----------------------------------------------------------------------------------------------


def hand_over(made: Path) -> None:
    """Give a file that root has made to the owner of its folder, so that a command of root does not lock them out.

    Raises OSError, but not if the file system refuses to change owners (as a network share does whose server maps root
    to nobody): root can use the file, and ``locked_out`` says who cannot.
    """
    if os.geteuid() != 0:
        return
    owner, mine = made.parent.stat(), made.lstat()
    if (owner.st_uid, owner.st_gid) == (mine.st_uid, mine.st_gid):
        return
    try:
        os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)
    except OSError as error:
        if error.errno not in REFUSED:
            raise


def locked_out(made: Path) -> str:
    """Return a sentence about the user who cannot use a file that root has just made; empty if all can."""
    owner, mine = made.parent.stat(), made.stat()
    if os.geteuid() != 0 or owner.st_uid in {0, mine.st_uid}:
        return ""
    return (
        f"{made} could not be given to uid {owner.st_uid}, who owns its folder: a governor of that user cannot read it;"
        " delete it and run this command as that user"
    )


# --- write access -----------------------------------------------------------------------------------------------------


def unwritable(folder: Path) -> str:
    """Return why no file can be made in this folder and what to do, in one sentence; empty if one can.

    A full disk is not reported, since it may have space again later.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):  # access() returns True for root even on a read-only file system
            return ""
    except OSError as error:
        if error.errno not in _NO_RIGHT:
            return ""
        remedies = {number: REMEDIES[number] for number in (errno.EROFS, errno.EPERM)}
        remedy = remedies.get(error.errno, "let the governor's user write there")
        return f"{folder} cannot be written to ({error.strerror}): {remedy}"


def denied(path: Path) -> str:
    """Return why this user may not write a file at ``path``, in one sentence; empty if permissions allow it.

    Checks the file, if it exists, and the nearest existing folder above. Nothing is written.
    """
    there = next(place for place in (path, *path.parents) if os.path.exists(place))  # noqa: PTH110 - Path.exists raises where a parent may not be entered
    for place in (there, there if there.is_dir() else there.parent):
        if not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0), effective_ids=True):
            if os.statvfs(place).f_flag & os.ST_RDONLY:
                return f"{place} is on a read-only file system: {REMEDIES[errno.EROFS]}"
            return f"{place} cannot be written to by this user: give it to the one who runs the governor"
    return ""
