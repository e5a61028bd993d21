"""Errors of file systems: which are tolerated, and what a person can do about the others."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""Errors of file systems that lack a feature: network shares, FUSE, object stores."""
REFUSED: Final = UNSUPPORTED | {errno.EACCES, errno.EPERM}
"""These, and the errors for a user without permission."""

REMEDIES: Final = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EROFS: "remount the file system writable",
    errno.EACCES: "let the governor's user write to the folder",
    errno.EPERM: "take the attributes i and a off the file and its folder (lsattr shows them, chattr removes them)",
    errno.EBUSY: "mount the file's folder rather than the file",
    errno.EIO: "check the disk",
    errno.ENOENT: "create the folder that is missing",
    errno.EEXIST: "move away what is in the place of its folder",
    errno.ENOTDIR: "move away what is in the place of its folder",
    errno.ENAMETOOLONG: "give it, or what its symlink leads to, a shorter name",
    errno.ELOOP: "remove the loop of symlinks",
    errno.ETXTBSY: "end the program that is run from this file",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the machine's limit of open files (sysctl fs.file-max)",
    errno.ENOMEM: "free some memory",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.ESTALE: "mount the network share again, since the server has replaced the folder",
    errno.ENOTCONN: "mount the file system again, since the program that serves it has ended",
    errno.ETIMEDOUT: "see to the server of the network share",
    errno.EHOSTDOWN: "see to the server of the network share",
    errno.EXDEV: "keep the file and its folder on one file system and in one project quota",
    errno.EUCLEAN: "check the file system (fsck)",
    errno.ENOKEY: "unlock the encrypted folder",
    errno.ENOLCK: "put the folder on a local disk, or start the lock service of the network share",
    errno.ENOSYS: "put the folder on a local disk, since this file system lacks what a safe write needs",
    errno.EOPNOTSUPP: "put the folder on a local disk, since this file system lacks what a safe write needs",
}
"""By error number, what a person can do, if that depends on nothing else."""

_NO_LOCKS: Final = "this file system has no file locks: put runtime/ on a local disk, or mount this one with locks"
_NOT_OURS: Final = "let the governor's user write to it, or remove it while no governor runs here"
LOCK_REMEDIES: Final = {
    errno.ENOLCK: _NO_LOCKS,
    errno.ENOSYS: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
    errno.EINVAL: _NO_LOCKS,
    errno.EACCES: _NOT_OURS,
    errno.EPERM: _NOT_OURS,
    errno.ELOOP: "it is a symbolic link: remove it while no governor runs here",
    errno.EISDIR: "move away the folder in its place",
}
"""As ``REMEDIES``, for the lock file, which must not be replaced while a governor holds it."""


class RemediedError(OSError):
    """An error of a file system with its own remedy."""

    remedy = "see to this path"


def remedy(error: OSError) -> str:
    """Return what a person can do about this error, as one clause; empty if that is unknown."""
    if isinstance(error, RemediedError):
        return error.remedy
    path = error.filename if error.filename2 is None else error.filename2
    if error.errno in {errno.EACCES, errno.EPERM} and isinstance(path, str | bytes | os.PathLike):
        return _remedy_of_denial(error.errno, Path(os.fsdecode(path)))
    return REMEDIES.get(error.errno or 0, "")


def problem(path: Path, done: str, error: OSError) -> str:
    """Return one sentence: the file at ``path`` could not be ``done`` ("read"), why, and what to do."""
    clause = remedy(error) or "see to this path"
    if done == "read" and error.errno == errno.EACCES:
        clause = "let the governor's user read it"
    return f"{path} could not be {done}: {error.strerror} ({code(error)}); {clause}, the next cycle tries again."


def code(error: OSError) -> str:
    """Return the name of an error number, such as ENOSPC."""
    return errno.errorcode.get(error.errno or 0, "unknown error")


def _remedy_of_denial(number: int | None, path: Path) -> str:
    """Return the remedy for a permission error at ``path``, from what is there now."""
    folder = Path(os.path.realpath(path)).parent
    taken = _is_file_of_another(path)
    if number == errno.EPERM:
        if taken and _is_sticky_for_us(folder):
            return f"give the file to the governor's user, or take the sticky bit off its folder (chmod -t {folder})"
        return REMEDIES[errno.EPERM]
    if taken:
        return "give the file to the governor's user"
    if os.path.exists(folder) and os.access(folder, os.W_OK | os.X_OK, effective_ids=True):  # noqa: PTH110 - Path.exists raises where a parent may not be entered
        return "let the machine's security policy (SELinux, AppArmor) permit it"
    return f"{REMEDIES[errno.EACCES]} {folder}"


def _is_file_of_another(path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return not stat.S_ISDIR(found.st_mode) and found.st_uid != os.geteuid()


def _is_sticky_for_us(folder: Path) -> bool:
    """Whether the folder is sticky and not this user's, so that only a file's owner may replace it."""
    try:
        found = folder.stat()
    except OSError:
        return False
    return bool(found.st_mode & stat.S_ISVTX) and found.st_uid != os.geteuid()
