"""The keeper of an agent: its log under rotation, and what is left when one of the processes dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.supervised import Site, logged

LINES = 200_000


def end(supervisor: subprocess.Popen[str]) -> int:
    supervisor.terminate()
    return supervisor.wait(timeout=PATIENCE_SECONDS)


def test_no_line_is_lost_by_rotation_or_restart(site: Site) -> None:
    """200,000 lines of two runs are in the files in order, no file ever shrinks, and `tail -F` follows to the end."""
    (site.root / "from").write_text("0")
    site.agents(
        "ensure_running counter 'from=$(<from); echo $((from + 100000)) >from; ((from < 200000)) || exec sleep 900; "
        "exec seq $((from + 1)) $((from + 100000))'"
    )
    site.settings |= {"NEO_LIGHT_LOG_MAX_BYTES": "20000", "NEO_LIGHT_LOG_KEEP": "500"}
    path = site.root / "logs/counter.log"
    path.parent.mkdir()
    sizes: dict[int, int] = {}
    with subprocess.Popen(
        ["/usr/bin/tail", "-n", "+1", "-F", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as tail:
        with site.started() as supervisor:
            third = None
            while third is None:
                for file in path.parent.glob("counter.log*"):
                    with suppress(FileNotFoundError):  # just renamed
                        found = file.stat()
                        assert found.st_size >= sizes.get(found.st_ino, 0)
                        sizes[found.st_ino] = found.st_size
                third = next(iter(site.pids("counter")[2:]), None)
            end(supervisor)
        with path.open("ab") as current:
            current.write(b"the end\n")
        assert tail.stdout
        followed = []
        for line in tail.stdout:
            followed.append(line)
            if line == b"the end\n":
                break
        tail.kill()
    files = logged(path)
    assert b"".join(files).split() == [b"%d" % number for number in range(1, LINES + 1)] + [b"the", b"end"]
    assert len(files) >= LINES * 6 // 20_000
    assert all(len(file) <= 20_000 and file.endswith(b"\n") for file in files[:-1])
    numbers = [int(line) for line in followed[:-1]]
    assert numbers == sorted(numbers)


def test_a_killed_writer_is_replaced_behind_the_agents_back(site: Site) -> None:
    """After `kill -9` of the process that writes the log the same agent goes on, and so does its log."""
    site.agents("ensure_running ticker 'for ((n = 0; ; n++)); do echo $n; sleep .02; done'")
    with site.started() as supervisor:
        pid = site.pid("ticker")
        wait_until(lambda: site.log("ticker"))
        wait_until(lambda: len(site.keepers("ticker")) == 2)
        keeper, writer = site.keepers("ticker")
        os.kill(writer, signal.SIGKILL)
        before = site.log("ticker").count("\n")
        wait_until(lambda: site.log("ticker").count("\n") > before + 10)
        assert site.pids("ticker") == [pid]
        assert keeper in site.keepers("ticker")
        end(supervisor)
    numbers = [int(line) for line in site.log("ticker").split()]
    assert numbers == sorted(set(numbers))


def test_a_killed_keeper_takes_its_agent_with_it(site: Site) -> None:
    """After `kill -9` of a keeper its agent's whole group is gone before another is started."""
    site.agents("ensure_running a \"trap '' TERM; sleep 900 | sleep 901\"")
    site.settings |= {"NEO_LIGHT_BACKOFF_SECONDS": "0.5", "NEO_LIGHT_STOP_SECONDS": "1"}
    with site.started() as supervisor:
        first = site.pid("a")
        wait_until(lambda: len(site.running("sleep 90")) >= 2)
        old = [first, *site.running("sleep 90")]
        os.kill(site.keepers("a")[0], signal.SIGKILL)
        site.pid("a", nth=2)
        assert not set(old) & site.processes().keys()
        assert "a ended with exit code 137" in site.said()
        end(supervisor)
    assert site.processes() == {}


def test_what_an_agent_leaves_running_ends_with_it(site: Site) -> None:
    """An agent that goes to the background is ended whole, so that a restart never makes two of it."""
    site.agents("ensure_running daemonic 'setsid sleep 900 & exec sleep 0.2'")
    with site.started() as supervisor:
        for nth in range(2, 5):
            site.pid("daemonic", nth=nth)
            assert len(site.running("sleep 900")) <= 1
        end(supervisor)


def test_an_agent_starts_with_a_clean_slate(site: Site) -> None:
    """It has three descriptors, no signal blocked or ignored, a session of its own and nothing to read."""
    site.agents("ensure_running a 'exec cat /proc/self/status - '", "ensure_running b 'exec ls -l /proc/self/fd'")
    with site.started() as supervisor:
        wait_until(lambda: "SigIgn" in site.log("a") and site.log("b").count("\n") >= 5)
        end(supervisor)
    masks = dict(re.findall(r"^(Sig(?:Blk|Ign)):\s+(\w+)$", site.log("a"), flags=re.MULTILINE))
    assert {name: int(mask, 16) for name, mask in masks.items()} == {"SigBlk": 0, "SigIgn": 0}
    links = re.findall(r" (\d+) -> (\S+)$", site.log("b"), flags=re.MULTILINE)[:4]
    assert [number for number, _ in links] == ["0", "1", "2", "3"]
    assert links[0][1] == "/dev/null"
    assert links[3][1].startswith("/proc/")  # the folder that ls reads
    assert links[1][1] == links[2][1]


def test_the_exit_code_of_an_agent_is_told_as_a_shell_tells_it(site: Site) -> None:
    """A command that does not exist is 127, one that a signal ended 128 and its number."""
    site.agents("ensure_running missing 'false || no_such_program_anywhere'", "ensure_running shot 'kill -SEGV $$'")
    with site.started() as supervisor:
        wait_until(lambda: "missing ended with exit code 127" in site.said())
        wait_until(lambda: "shot ended with exit code 139" in site.said())
        end(supervisor)
    assert "no_such_program_anywhere" in site.log("missing")


def test_a_keeper_without_its_supervisor_starts_nothing(site: Site) -> None:
    """If the supervisor is gone before the keeper could tie itself to it, the agent is not started."""
    command: list[str | Path] = [
        site.project / ".venv/bin/python",
        "-I",
        "-m",
        "capital_governor.supervisor.keeper",
        "--name",
        "a",
        "--parent",
        "1",
    ]
    command += ["--tell", "1", "--stop-seconds", "1", "--log", site.home / "a.log", "--max-bytes", "9", "--keep", "1"]
    done = subprocess.run([*command, "--", "touch", site.home / "started"], check=False, timeout=PATIENCE_SECONDS)
    assert done.returncode == 75
    assert not (site.home / "started").exists()
