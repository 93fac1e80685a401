"""How long a command takes from being typed to what it is for, in starts of Python alone.

Time by the clock, on the servers' core: a command that waits is no better than one that computes.
What it speaks to runs on the other core.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import asynctls
from tests.bench.figures import Table, Target
from tests.bench.machine import SERVING, pinned
from tests.bench.processes import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.identities import Identities
    from tests.bench.scenarios import Size

__all__ = ["start"]

_TIMES = 3
_ASYNCTLS = Path(sysconfig.get_path("scripts"), "asynctls")
_PYTHON = "bare Python"
_CLIENT, _HELP, _VERSION = "asynctls client, message", "asynctls --help", "asynctls --version"


@dataclass(frozen=True, slots=True)
class Typed:
    """A command.

    Attributes:
        name: as it stands in the table.
        words: what is typed.
        until: what it then says on standard error; None: it ends.
        variables: of its environment, beside ours.
    """

    name: str
    words: Sequence[str | Path]
    until: bytes | None = None
    variables: dict[str, str] = field(default_factory=dict)

    def milliseconds(self) -> float:
        """From being typed to what it is for; ends with the process. Blocks.

        Raises:
            RuntimeError: it ended otherwise.
        """
        # Its own: affinity is a thread's, and this one is the only one to change its.
        with pinned(SERVING):
            began = perf_counter()
            process = subprocess.Popen(
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_environment() | self.variables,
            )
        with process:
            assert process.stderr is not None
            said = b""
            for line in process.stderr:
                said += line
                if self.until is not None and self.until in line:
                    took = perf_counter() - began
                    process.terminate()
                    process.stderr.read()
                    break
            else:
                code = process.wait(PATIENCE_S)
                took = perf_counter() - began
                if self.until is not None or code:
                    raise RuntimeError(f"{self.name} ended with {code}: {said.decode()}")
        return took * 1e3


def _environment() -> dict[str, str]:
    # A start after the first one: what is installed has its bytecode.
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


async def start(identities: Identities, scratch: Path, size: Size) -> list[Table]:
    """Commands that end at once, a client up to its message, daemons until they listen."""
    table = Table(
        "a command started",
        "ms",
        targets=(
            Target("at most 18 starts of Python", _CLIENT, _PYTHON, 18),
            Target("at most 6 starts of Python", _HELP, _PYTHON, 6),
            Target("at most 6 starts of Python", _VERSION, _PYTHON, 6),
        ),
    )
    async with asynctls.serving(
        _greet, "127.0.0.1:0", identity=identities.server, allow=["client"]
    ) as address:
        typed = _typed(identities, scratch, str(address))
        for each in typed:
            # Once before it counts: bytecode is written, files are in memory.
            await asyncio.to_thread(each.milliseconds)
        for _ in range(size.rounds * _TIMES):
            for each in typed:
                table.add(each.name, await asyncio.to_thread(each.milliseconds))
    return [table]


async def _greet(session: asynctls.Session) -> None:
    await session.send(b"hello")


def _typed(identities: Identities, scratch: Path, address: str) -> list[Typed]:
    # A state folder is one process's.
    server = shutil.copytree(identities.server, scratch / "server")
    ttp = shutil.copytree(identities.server.parent / "ttp", scratch / "ttp")
    to_server = ("--connect", address, "--server-name", "server")
    anywhere = ("--listen", "127.0.0.1:0")
    question = {
        "_ASYNCTLS_COMPLETE": "bash_complete",
        "COMP_WORDS": "asynctls client --l",
        "COMP_CWORD": "2",
    }
    return [
        Typed(_PYTHON, (sys.executable, "-c", "pass")),
        Typed(_VERSION, (_ASYNCTLS, "--version")),
        Typed(_HELP, (_ASYNCTLS, "--help")),
        Typed("asynctls client --help", (_ASYNCTLS, "client", "--help")),
        Typed("asynctls, completed by a shell", (_ASYNCTLS,), variables=question),
        Typed("asynctls identity", (_ASYNCTLS, "identity", "--state", identities.client)),
        Typed("asynctls ttp list", (_ASYNCTLS, "ttp", "list", "--state", ttp)),
        Typed(
            _CLIENT,
            (_ASYNCTLS, "client", *to_server, "--state", identities.client),
            until=b"Message received",
        ),
        Typed(
            "asynctls server, listening",
            (_ASYNCTLS, "server", *anywhere, "--allow", "client", "--state", server),
            until=b"listening",
        ),
        Typed(
            "asynctls ttp, listening",
            (_ASYNCTLS, "ttp", *anywhere, "--state", ttp),
            until=b"listening",
        ),
    ]
