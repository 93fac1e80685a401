"""The command line: arguments to config, results to words and exit codes; no logic of its own.

Exit codes: 0 done; 1 it could not be done, one line says why; 2 the command line or the config is
wrong. What was asked for goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from asynctls._version import __version__
from asynctls.cli.lazy import LazyGroup
from asynctls.errors import AsynctlsError, ConfigError, JoinStringError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["commands", "main"]

_FAILED = 1
_USAGE = 2
_INTERRUPTED = 130
_OUT_OF_MEMORY = (
    "out of memory: give this process more, or have fewer connections or smaller messages at a "
    "time (max_connections, max_message); start it again, nothing that was recorded is lost"
)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    rooms={
        "demo": "All three roles on this machine, with a transcript.",
        "ttp": "The trusted third party: the CA daemon, and its administration.",
        "server": "A server: sends messages, echoes, is a tunnel's end, or runs your app.",
        "client": "A client: receives, verifies, prints; sends; or a tunnel's end.",
        "identity": "Who am I, until when, in which files; join, renew, keep.",
        "costs": "What a secure message costs, on the wire and in the processor.",
        "probe": "Try attacks on a live server, and see which it withstands.",
        "config": "Check a config file.",
        "completion": "Have a shell complete these commands.",
    },
)
@click.version_option(__version__, prog_name="asynctls", message="%(prog)s %(version)s")
def commands() -> None:
    """A private CA, mutual TLS 1.2 and authenticated messages.

    Every option can also stand in the TOML file that --config names, or in the environment
    (ASYNCTLS_LISTEN for --listen): the command line wins over the environment, that over the file.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits; every error becomes its exit code here, nowhere else."""
    # A tenth of a start was to look for garbage among what is being imported; `runtime.run` turns
    # it on again.
    gc.disable()
    _open_what_is_closed()
    _escape_what_the_locale_lacks()
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has seen enough.
        code = _FAILED
    except OSError as error:
        code = _say(_FAILED, _in_words(error))
    except Exception as error:
        if not _wants_memory(error):
            raise
        code = _say(_FAILED, _OUT_OF_MEMORY)
    # All is done: Ctrl-C would only have Python tell where it was on its way out.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _discard_what_cannot_be_written()
    sys.exit(code)


def _escape_what_the_locale_lacks() -> None:
    """As Python does on standard error: a sign that cannot be written ends no command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard_what_cannot_be_written() -> None:
    """Else Python, which flushes at exit, would complain once more, in its own words and code."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_what_is_closed() -> None:
    """Keeps descriptors 0 to 2 from being a socket's or the ledger's, which uvloop aborts on."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = commands.main(arguments, prog_name="asynctls", standalone_mode=False)
    except ConfigError as error:
        return _say(_USAGE, *map(str, error.faults))
    except JoinStringError as error:
        return _say(_USAGE, str(error))
    except AsynctlsError as error:
        return _say(_FAILED, " ".join(str(error).split()))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    return result if isinstance(result, int) else 0


def _say(code: int, *lines: str) -> int:
    for line in lines:
        click.echo(f"asynctls: {line}", err=True)
    return code


def _wants_memory(error: BaseException) -> bool:
    match error:
        case BaseExceptionGroup():
            return any(map(_wants_memory, error.exceptions))
        case MemoryError():
            return True
        case RuntimeError():
            # A thread's stack is the largest piece that is asked for.
            return "can't start new thread" in str(error)
    return False


def _in_words(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason
