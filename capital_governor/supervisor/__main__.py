"""The supervising commands of ``neo_light_fix.sh``.

``python -m capital_governor.supervisor BASH SCRIPT COMMAND [ARGUMENT...]``, with the root in NEOLIGHT_ROOT.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from capital_governor.supervisor.agents import Checkout
from capital_governor.supervisor.commands import Commands
from capital_governor.supervisor.messages import SupervisionError, note
from capital_governor.supervisor.root import Root, read_settings, typed_script


def main() -> None:
    """Run the command of the command line on the root in NEOLIGHT_ROOT, an absolute path.

    Raises:
        SystemExit: with the command's exit code.
    """
    bash, script, command, *arguments = sys.argv[1:]
    # As in a shell, Ctrl-C and a closed reader end a command without a message.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        path, settings = Path(os.environ["NEOLIGHT_ROOT"]), read_settings(os.environ)
        root = Root(path, typed_script(Path(script), path, _folder_of(command)))
        commands = Commands(Checkout(Path(script).parent, bash), script, root, settings)
        raise SystemExit(_run(commands, command, arguments))
    except SupervisionError as error:
        note(str(error))
        raise SystemExit(error.code) from None


def _folder_of(command: str) -> Path | None:
    """Return the folder in which the reader of a command's messages types; None for those that go to a log."""
    try:
        return None if command in {"supervise", "_background", "_demo"} else Path.cwd()
    except OSError:  # it is gone
        return None


def _run(commands: Commands, command: str, arguments: list[str]) -> int:
    match command:
        case "supervise":
            commands.supervise()
        case "_background":  # what 'start' starts
            commands.supervise(background=True)
        case "_demo":
            commands.supervise(demo=True)
        case "status":
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            return commands.status(ready=arguments == ["ready"])
        case "logs":
            commands.logs(*arguments)
        case "restart":
            commands.restart(*arguments)
        case _:
            {"start": commands.start, "stop": commands.stop}[command]()
    return 0


if __name__ == "__main__":
    main()
