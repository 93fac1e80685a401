"""The outer border of every command: names, exit codes, and what is never printed."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import pytest

from asynctls._version import __version__
from asynctls.cli import commands
from asynctls.errors import ConfigError, Fault, StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Run

VERBS = ("demo", "ttp", "server", "client", "identity", "costs", "probe", "config", "completion")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Has the verb ``demo`` fail with an error of the test's choice."""

    def fail_with(error: BaseException) -> None:
        @click.command
        def demo() -> NoReturn:
            raise error

        monkeypatch.setitem(commands.commands, "demo", demo)
        monkeypatch.setattr(
            type(commands), "get_command", lambda group, ctx, name: group.commands.get(name)
        )

    return fail_with


def test_the_version_is_printed_alone(asynctls: Run) -> None:
    ended = asynctls("--version")
    assert (ended.code, ended.out) == (0, f"asynctls {__version__}\n")


def test_the_help_lists_each_verb(asynctls: Run) -> None:
    ended = asynctls("--help")
    assert ended.code == 0
    for verb in VERBS:
        assert f"  {verb} " in ended.out


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_a_help(verb: str, asynctls: Run) -> None:
    ended = asynctls(verb, "--help")
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: asynctls {verb} ")


@pytest.mark.parametrize("words", [("--help",), ("--version",)])
def test_help_and_version_import_nothing_heavy(words: tuple[str, ...]) -> None:
    script = (
        "import sys; from asynctls.cli import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: print([m for m in ('asyncio', 'cryptography', 'msgspec', 'rich', "
        "'sqlalchemy', 'structlog', 'uvloop') if m in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "words", [("nonsense",), ("server", "--nonsense"), ("ttp", "nonsense"), ("config", "check")]
)
def test_a_wrong_command_line_is_exit_2(words: tuple[str, ...], asynctls: Run) -> None:
    ended = asynctls(*words)
    assert (ended.code, ended.out) == (2, "")
    assert "Error: " in ended.err


def test_every_fault_of_a_config_is_named_and_exit_is_2(
    failing: Callable[[BaseException], None], asynctls: Run
) -> None:
    faults = [Fault("ttp.listen", "--listen", "no port"), Fault("ttp.drain", "F", "too long")]
    failing(ConfigError(*faults))
    ended = asynctls("demo")
    assert ended.code == 2
    assert ended.err.splitlines() == [f"asynctls: {fault}" for fault in faults]


def test_what_could_not_be_done_is_one_line_and_exit_1(
    failing: Callable[[BaseException], None], asynctls: Run
) -> None:
    failing(StateError("the folder is full:\nremove something"))
    ended = asynctls("demo")
    assert (ended.code, ended.out, ended.err) == (
        1,
        "",
        "asynctls: the folder is full: remove something\n",
    )


def test_an_error_of_the_system_is_one_line_too(
    failing: Callable[[BaseException], None], asynctls: Run
) -> None:
    failing(PermissionError(13, "Permission denied", "/some/file"))
    ended = asynctls("demo")
    assert (ended.code, ended.out, ended.err) == (
        1,
        "",
        "asynctls: /some/file: Permission denied\n",
    )


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ExceptionGroup("two connections", [ValueError(), MemoryError()]),
        RuntimeError("can't start new thread"),
    ],
)
def test_out_of_memory_is_one_line_too(
    asynctls: Run, failing: Callable[[BaseException], None], error: Exception
) -> None:
    failing(error)
    ended = asynctls("demo")
    assert (ended.code, ended.out) == (1, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("asynctls: out of memory: give this process more")


def test_ctrl_c_is_exit_130_without_a_word(
    failing: Callable[[BaseException], None], asynctls: Run
) -> None:
    failing(KeyboardInterrupt())
    assert asynctls("demo").code == 130


def test_ctrl_c_on_the_way_out_is_not_heard() -> None:
    script = (
        "import atexit, os, signal; from asynctls.cli import main\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "main(['--version'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    script = (
        "import click; from asynctls.cli import commands, main\n"
        "commands.get_command = lambda ctx, name: click.Command('demo', callback="
        "lambda: [click.echo('x' * 1000) for _ in range(1000)])\n"
        "main(['demo'])"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert first.stdout is not None
    assert first.stderr is not None
    first.stdout.read(10)
    first.stdout.close()
    with first.stderr as errors:
        assert errors.read() == b""
    assert first.wait(20) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_is_full_is_told_in_one_line(unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-c", "from asynctls.cli import main; main(['--version'])"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert result.returncode == 1
    assert result.stderr == "asynctls: No space left on device\n"


def test_what_is_no_join_string_is_a_wrong_command_line(asynctls: Run) -> None:
    ended = asynctls("identity", "join", "--state", "role", "--join", "est://s3cr3t")
    assert (ended.code, ended.out) == (2, "")
    assert "s3cr3t" not in ended.err


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_standard_streams_stop_nothing(closed: tuple[int, ...], tmp_path: Path) -> None:
    script = (
        f"import os; [os.close(n) for n in {closed}]\n"
        "os.execv(os.sys.executable, [os.sys.executable, '-m', 'asynctls', 'ttp', 'token', "
        f"'server', '--name', 'localhost', '--state', {str(tmp_path / 'ttp')!r}])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "ttp" / "issuing.pem").exists()


def test_ctrl_c_ends_the_wait_for_a_join_string(tmp_path: Path) -> None:
    words = ("identity", "join", "--join-file", "-", "--state", str(tmp_path / "role"))
    process = subprocess.Popen(
        [sys.executable, "-m", "asynctls", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None
        # There is room in the full pipe again when it has been read.
        size = fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, 4096)
        assert os.write(process.stdin.fileno(), b" " * size) == size
        assert select.select([], [process.stdin], [], 30)[1], "it does not read"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""
