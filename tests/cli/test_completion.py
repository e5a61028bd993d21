"""`completion`: a real shell completes command lines with what it prints."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from capital_governor.cli.completion_command import OF_THE_SCRIPT
from capital_governor.cli.docs_command import TOPICS
from capital_governor.cli.parser import make_parser
from tests.rigs.commands import CommandResult, command, environment, run_to_end
from tests.rigs.patience import PATIENCE_SECONDS
from tests.supervisor.test_supervisor_script import OWN

PROGRAM, SCRIPT = "capital-governor", "./neo_light_fix.sh"
COMPLETE = """
set -eu
source "$1"
shift
COMP_CWORD=$(($# - 1))
COMP_WORDS=("$@")
_capital_governor "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' ${COMPREPLY[@]+"${COMPREPLY[@]}"}
"""


def bash() -> str:
    found = shutil.which("bash")
    assert found is not None
    return found


def printed(shell: str) -> str:
    said = run_to_end(command("completion", shell))
    assert (said.code, said.err) == (0, "")
    return said.out


@pytest.fixture(scope="module")
def for_bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bash") / "completion.bash"
    path.write_text(printed("bash"))
    return path


def completed(for_bash: Path, *words: str, cwd: Path | None = None) -> set[str]:
    """What a real bash offers for the last word."""
    run = run_to_end([bash(), "--norc", "-c", COMPLETE, "bash", for_bash, *words], cwd=cwd)
    assert (run.code, run.err) == (0, "")
    return {line for line in run.out.splitlines() if line}


def test_bash_knows_both_programs(for_bash: Path) -> None:
    """`complete -p` has them, shellcheck finds nothing, and sourcing it twice changes nothing."""
    source = f"source {shlex.quote(str(for_bash))}"
    run = run_to_end([bash(), "--norc", "-euc", f"{source}; {source}; complete -p"])
    assert sorted(run.out.splitlines()) == [
        "complete -F _capital_governor capital-governor",
        "complete -F _capital_governor neo_light_fix.sh",
    ]
    shellcheck = Path(sys.executable).with_name("shellcheck")
    checked = run_to_end([shellcheck, "--shell=bash", for_bash])
    assert (checked.code, checked.out) == (0, "")


def test_commands(for_bash: Path) -> None:
    """All commands of the program, and for the script its own too."""
    commands = set(make_parser().commands)
    assert completed(for_bash, PROGRAM, "") == commands
    assert completed(for_bash, SCRIPT, "") == commands | OWN
    assert set(OF_THE_SCRIPT) == OWN - {"status"}
    assert completed(for_bash, PROGRAM, "dec") == {"decisions"}
    assert completed(for_bash, SCRIPT, "re") == {"release", "reload", "restart", "resume"}
    assert completed(for_bash, PROGRAM, "--v") == {"--version"}
    assert completed(for_bash, PROGRAM, "nothing") == set()


@pytest.mark.parametrize("name", sorted(make_parser().commands))
def test_options_of_each_command(for_bash: Path, name: str) -> None:
    """The long options of a command, and no others."""
    parser = make_parser().commands[name]
    options = {each for action in parser._actions for each in action.option_strings if each.startswith("--")}
    assert completed(for_bash, PROGRAM, name, "--") == options
    assert completed(for_bash, SCRIPT, name, "--") == options


def test_words_and_values(for_bash: Path, tmp_path: Path) -> None:
    """An argument of few words has these, a path is a file or folder, and another value is not guessed."""
    assert completed(for_bash, PROGRAM, "docs", "") == set(TOPICS)
    assert completed(for_bash, PROGRAM, "schema", "p") == {"primary"}
    assert completed(for_bash, PROGRAM, "completion", "") == {"bash", "zsh"}
    (tmp_path / "a root").mkdir()
    (tmp_path / "an agent").touch()
    assert completed(for_bash, PROGRAM, "status", "--root", "a", cwd=tmp_path) == {"a root", "an agent"}
    assert completed(for_bash, PROGRAM, "hold", "--for", "") == set()


class Shell:
    """An interactive shell on a terminal, which completes at a tab."""

    def __init__(self, words: list[str], cwd: Path, **env: str) -> None:
        self._master, slave = pty.openpty()
        known = environment("http://127.0.0.1:1", {"PS1": "ready> ", "TERM": "dumb", "INPUTRC": os.devnull, **env})
        self._process = subprocess.Popen(
            words, env=known, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.got = b""

    def send(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until the terminal has shown this."""
        while text.encode() not in self.got:
            readable, _, _ = select.select([self._master], [], [], PATIENCE_SECONDS)
            assert readable, self.got
            self.got += os.read(self._master, 4_096)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)
        os.close(self._master)


@pytest.fixture
def interactive(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell([bash(), "--norc", "--noprofile", "-i"], tmp_path)
    yield shell
    shell.close()


def test_a_tab_in_a_real_bash(interactive: Shell, for_bash: Path) -> None:
    """A command and an option are completed as they are typed, for the program and for ./neo_light_fix.sh."""
    interactive.wait_for("ready> ")
    interactive.send(f"source {shlex.quote(str(for_bash))}; echo sour''ced\n")
    interactive.wait_for("sourced")
    interactive.send("capital-governor deci\t--sin\t")
    interactive.wait_for("capital-governor decisions --since ")
    interactive.send("\x15./neo_light_fix.sh sto\t")
    interactive.wait_for("./neo_light_fix.sh stop ")


def zsh() -> str:
    found = shutil.which("zsh")
    if found is None:
        pytest.skip("there is no zsh here")
    return found


def test_a_tab_in_a_real_zsh(tmp_path: Path) -> None:
    """Likewise, with `eval` as the manual has it."""
    (tmp_path / "completion.zsh").write_text(printed("zsh"))
    shell = Shell([zsh(), "-f", "-i"], tmp_path, ZDOTDIR=str(tmp_path))
    try:
        shell.send('autoload -Uz compinit; compinit -D -u; eval "$(cat completion.zsh)"; echo sour""ced\n')
        shell.wait_for("\nsourced")
        shell.send("capital-governor deci\t")
        shell.wait_for("decisions")
        shell.send("--sin\t")
        shell.wait_for("--since")
        shell.send("\x15capital-governor docs oper\t")
        shell.wait_for("operating")
        shell.send("\x15./neo_light_fix.sh sto\t")
        shell.wait_for("stop")
    finally:
        shell.close()


def test_zsh_has_every_command_and_option(tmp_path: Path) -> None:
    """Each command has a line with its options, quoted so that zsh can read it."""
    text = printed("zsh")
    for name, parser in make_parser().commands.items():
        (line,) = re.findall(rf"^        {name}\) _arguments (.*) ;;$", text, re.MULTILINE)
        options = {each for action in parser._actions for each in action.option_strings if each.startswith("--")}
        specs = shlex.split(line)
        assert {spec.partition("[")[0] for spec in specs if spec.startswith("--")} == options
    (tmp_path / "completion.zsh").write_text(text)
    if shutil.which("zsh"):
        read: CommandResult = run_to_end([zsh(), "-n", tmp_path / "completion.zsh"])
        assert (read.code, read.err) == (0, "")


@pytest.mark.parametrize("words", [("completion",), ("completion", "fish"), ("completion", "bash", "zsh")])
def test_another_shell_is_wrong_usage(words: tuple[str, ...]) -> None:
    """Exit code 2, and what there is."""
    said = run_to_end(command(*words))
    assert (said.code, said.out) == (2, "")
    assert words != ("completion", "fish") or "'fish' is no shell that it knows: give bash or zsh" in said.err
