"""Makes, judges and fills the virtual environment ``.venv``, for ``neo_light_fix.sh``. Standard library only.

    .venv/bin/python -I .ci/environment.py judge EXTRA    # as before every command: is it ready?
    python3 -I .ci/environment.py prepare EXTRA           # any Python from 3.11 on: makes and fills it where needed

EXTRA is ``test`` for the packages of the tests, or empty for those of a run.

Exit codes of ``judge``, which prints nothing of its own: 0 ready; 3 sound, only packages have to be installed; all
others, also those of a Python that does not start: it has to be made. Exit codes of ``prepare``, after a message: 75
not possible now, for example without a network; 78 no right to write.
"""

# The usual start waits until this has judged: pathlib, shutil, signal and subprocess would double the time.

from __future__ import annotations

import fcntl
import os
import sys
import zlib
from importlib.machinery import PathFinder

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = f"{PROJECT}/.venv"
PYTHON = f"{VENV}/bin/python"
STAMP = f"{VENV}/neo_light_fix.stamp"
INSTALL_LOG = f"{VENV}/neo_light_fix.log"

READY, MAKE, FILL = 0, 1, 3
TRY_LATER, PERMANENT = 75, 78

# The stamp's first line is the project's folder, the second the state: 'installing' while files change (found later, it
# means that the installation was interrupted), 'pending' after pip failed, otherwise what is installed.
INSTALLING, PENDING = "installing", "pending"

# The operator's settings of pip and uv may say where packages come from, but not where they go, which versions they
# have, and for which Python they are.
NOT_FOR_PIP = (
    *("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_PLATFORM", "PIP_PYTHON_VERSION", "PIP_IMPLEMENTATION"),
    *("PIP_ABI", "PIP_DRY_RUN", "PIP_NO_DEPS", "PIP_NO_DEPENDENCIES", "PIP_NO_BUILD_ISOLATION", "PIP_REQUIREMENT"),
    "PIP_EDITABLE",
)
FOR_PIP = {
    "PIP_USER": "0",
    "PIP_REQUIRE_HASHES": "0",
    "PIP_CONSTRAINT": "/dev/null",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
NOT_FOR_UV = ("UV_SYSTEM_PYTHON", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_REQUIRE_HASHES", "UV_NO_BUILD_ISOLATION")
PIP = (PYTHON, "-I", "-m", "pip", "install", "--no-user", "--target=", "--root=/", f"--prefix={VENV}")
UV = ("uv", "pip", "install", "--python", PYTHON)


class SetupError(Exception):
    """A sentence that says why there is no environment, and the exit code."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def note(sentence: str) -> None:
    """Print a message to the user."""
    print(f"neo_light_fix.sh: {sentence}", file=sys.stderr, flush=True)


# --- judging ----------------------------------------------------------------------------------------------------------


def judge(extra: str) -> int:
    """Return READY, FILL or MAKE for the environment whose Python runs this."""
    # pip is in a folder named after Python's version, so it is not found if that Python was replaced.
    if sys.version_info < (3, 11) or PathFinder.find_spec("pip") is None:
        return MAKE
    state = stamped_state()
    if state in (INSTALLING, ""):
        return MAKE
    try:
        # The test packages include those of a normal run.
        ready = any(state == installed_state(installed) for installed in (extra, "test"))
    except OSError:
        ready = False  # pip will say which file is missing
    return READY if ready else FILL


def stamped_state() -> str | None:
    """Return the state from the stamp.

    It is None without a stamp: the user made the environment, and it is kept. It is empty if the stamp is damaged, or
    the environment was moved or copied with its folder.
    """
    try:
        folder, _, state = os.fsdecode(content(STAMP)).rstrip("\n").rpartition("\n")
    except FileNotFoundError:
        return None
    return state if folder == PROJECT else ""


def write_stamp(state: str) -> None:
    """Replace the stamp as a whole."""
    with open(f"{STAMP}.new", "wb") as file:
        file.write(os.fsencode(f"{PROJECT}\n{state}\n"))
    os.replace(f"{STAMP}.new", STAMP)


def installed_state(extra: str) -> str:
    """Return the state of an environment in which all that is needed now is installed."""
    needed = content(f"{PROJECT}/pyproject.toml") + content(f"{PROJECT}/{lock_file(extra)}")
    return f"installed {zlib.crc32(needed)} {len(needed)} [{extra}]"


def lock_file(extra: str) -> str:
    """Return the name of the file with versions and hashes of all packages."""
    return f".ci/requirements-{extra}.txt" if extra else ".ci/requirements.txt"


def content(path: str) -> bytes:
    """Return what is in a file."""
    with open(path, "rb") as file:
        return file.read()


# --- making and filling -----------------------------------------------------------------------------------------------


def prepare(extra: str) -> None:
    """Make the environment if it cannot be kept, and install what is missing.

    Raises:
        SetupError: It could not be made or filled.
    """
    lock_project()
    # Another process may have made it while this one waited.
    verdict = judged(extra)
    if verdict == READY:
        return
    if verdict != FILL:
        make()
    install(extra)


def lock_project() -> None:
    """Lock the project's folder, for this process and all that it starts, until the last of them has ended.

    The lock stays when .venv is made again, leaves no file, and is also held by a pip that survives a killed script. On
    a file system without locks, two simultaneous first uses may collide.
    """
    lock = os.open(PROJECT, os.O_RDONLY)
    os.set_inheritable(lock, True)  # noqa: FBT003 - it has no keywords
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("waiting for another neo_light_fix.sh that is preparing .venv")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise SetupError(TRY_LATER, f"cannot lock {PROJECT}") from error
    except OSError:
        return


def judged(extra: str) -> int:
    """Return what the environment's own Python says of it."""
    from subprocess import DEVNULL

    try:
        return run((PYTHON, "-I", __file__, "judge", extra), DEVNULL)
    except OSError:
        return MAKE  # there is no such Python, or nothing that can be started


def make() -> None:
    """Make the environment with the Python that runs this."""
    import shutil

    demand_write(PROJECT)
    if os.path.isdir(VENV):
        demand_write(VENV)
    # The environment's own Python would be removed with it.
    python = os.path.realpath(PYTHON) if sys.executable == PYTHON else sys.executable
    name = os.path.basename(python)
    note(f"making .venv with {name}")
    if os.path.isdir(VENV) and not os.path.islink(VENV):
        shutil.rmtree(VENV)
    elif os.path.lexists(VENV):
        os.unlink(VENV)
    os.mkdir(VENV)
    write_stamp(INSTALLING)
    if run((python, "-I", "-m", "venv", VENV), sys.stderr.fileno()) != 0:
        raise SetupError(TRY_LATER, f"{name} could not make {VENV}: see above")


def demand_write(folder: str) -> None:
    """Raise an error if this user may not write there; this is permanent, other failures may pass."""
    if not os.access(folder, os.W_OK):
        raise SetupError(
            PERMANENT,
            f"cannot write to {folder}, where the virtual environment has to be made or renewed: let this user write"
            " there, or run this once as the one who may",
        )


def install(extra: str) -> None:
    """Install what is locked, and the project."""
    demand_write(VENV)
    note("installing into .venv (a minute or so the first time)")
    write_stamp(INSTALLING)
    with open(INSTALL_LOG, "wb") as log:
        status = install_locked(extra, log.fileno())
    if status == 0:
        write_stamp(installed_state(extra))
        return
    # pip has restored what it had replaced, so the environment can be kept.
    write_stamp(PENDING)
    said = content(INSTALL_LOG)
    if index_was_out_of_reach(said):
        raise SetupError(
            TRY_LATER,
            "the package index cannot be reached: give this machine a network, or name an index that it reaches in"
            f" PIP_INDEX_URL, and run this again (pip's whole output is in {INSTALL_LOG})",
        )
    sys.stderr.buffer.writelines(said.splitlines(keepends=True)[-20:])
    raise SetupError(
        TRY_LATER,
        f"pip failed with exit code {status}, its whole output is in {INSTALL_LOG}: remove the cause and run this"
        " again",
    )


def install_locked(extra: str, log: int) -> int:
    """Install the locked packages, then the project as editable, so that a 'git pull' upgrades it.

    uv is faster, but ignores pip's settings; if it fails, pip is tried.

    Returns:
        0, or pip's exit code.
    """
    import shutil

    packages = ("--require-hashes", "-r", lock_file(extra))
    project = ("--no-deps", "--no-build-isolation", "-e", ".")
    uv_serves = not os.environ.get("PIP_INDEX_URL") and shutil.which("uv")
    if uv_serves and not any(run((*UV, *what), log, NOT_FOR_UV) for what in (packages, project)):
        return 0
    return run((*PIP, *packages), log, NOT_FOR_PIP, **FOR_PIP) or run((*PIP, *project), log, NOT_FOR_PIP, **FOR_PIP)


def index_was_out_of_reach(said: bytes) -> bool:
    """Tell if pip could not reach the index. It tries several times, so only its last attempt counts."""
    after_last_attempt = said.partition(b"Retry(total=0,")[2]
    return b"connection broken by" in after_last_attempt or b"Max retries exceeded" in said


def run(command: tuple[str, ...], output: int, forgotten: tuple[str, ...] = (), **settings: str) -> int:
    """Run a program in the project's folder.

    PYTHONPATH and similar variables are for other programs.

    Args:
        command: program and arguments.
        output: the descriptor that its stdout and stderr go to.
        forgotten: other variables that it does not get.
        settings: variables that it gets instead.

    Returns:
        Its exit code, as a shell has it.
    """
    import subprocess

    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON") and name not in forgotten
    }
    code = subprocess.run(  # noqa: S603 - Python, pip or uv
        command,
        cwd=PROJECT,
        env=kept | settings,
        stdout=output,
        stderr=output,
        close_fds=False,  # it holds the lock, too
        check=False,
    ).returncode
    return code if code >= 0 else 128 - code


def main() -> int:
    """Judge or prepare; return the exit code."""
    command, extra = sys.argv[1:]
    if command == "judge":
        return judge(extra)
    import signal

    # As in a shell, Ctrl-C ends this without a message.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        prepare(extra)
    except SetupError as error:
        note(str(error))
        return error.code
    except OSError as error:
        note(f"cannot write {VENV} ({error}): mend that and run this again")
        return TRY_LATER
    return 0


if __name__ == "__main__":
    sys.exit(main())
