"""The demo: the three roles as processes on this machine, and what they did, line by line."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from typing import TYPE_CHECKING

from cryptography import x509
from rich.console import Console

from asynctls.demo.facts import measure_operations
from asynctls.demo.processes import output_of, role
from asynctls.demo.stage import Stage
from asynctls.demo.summary import summary
from asynctls.enrolment import Identity
from asynctls.errors import DemoError
from asynctls.runtime.stopped import stopped_by_signals
from asynctls.state import make_private_folder

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.config import DemoConfig

__all__ = ["run"]

_ANY_PORT = "127.0.0.1:0"
_CLIENT_S = 60.0
# Where nobody's screen is, nothing is folded.
_WIDE = 1000


async def run(config: DemoConfig) -> None:
    """Runs the demo and prints its transcript and summary on standard output.

    The CA in ``config.state`` is found again; server and client join anew each time.

    Raises:
        DemoError: a role failed; what it said is in the transcript.
        StateError: the state folder cannot be used.
    """
    with stopped_by_signals():
        await _run(config)


async def _run(config: DemoConfig) -> None:
    await asyncio.to_thread(make_private_folder, config.state)
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDE
    async with Stage(console) as stage:
        await _play(config.state, stage)
    console.print()
    console.print(await asyncio.to_thread(_summary, config.state, stage))


async def _play(state: Path, stage: Stage) -> None:
    for name in ("server", "client"):
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(shutil.rmtree, state / name)
    async with role("ttp", _arguments(state, "ttp", "--listen", _ANY_PORT), tell=stage.tell) as ttp:
        await stage.reached("ttp", "listening", ttp)
        serve = ("--listen", _ANY_PORT, "--allow", "client", "--join-file", "-")
        async with role(
            "server",
            _arguments(state, "server", *serve),
            secret=await _token(state, "server"),
            tell=stage.tell,
        ) as server:
            listening = await stage.reached("server", "listening", server)
            address = str(listening.fields["address"])
            await _receive(state, stage, address)
            await stage.reached("server", "session ended", server)


async def _receive(state: Path, stage: Stage, address: str) -> None:
    connect = ("--connect", address, "--server-name", "server", "--join-file", "-")
    async with role(
        "client",
        _arguments(state, "client", *connect),
        secret=await _token(state, "client"),
        tell=stage.tell,
    ) as client:
        try:
            async with asyncio.timeout(_CLIENT_S):
                code = await client.wait()
        except TimeoutError as error:
            raise DemoError(f"the client did not end within {_CLIENT_S:g} s") from error
    if code:
        raise DemoError(f"the client failed (exit {code}); its last line says why")


async def _token(state: Path, name: str) -> str:
    return await output_of(["ttp", "token", name, "--state", str(state / "ttp")])


def _arguments(state: Path, name: str, *others: str) -> tuple[str, ...]:
    return (name, *others, "--log-format", "json", "--state", str(state / name))


def _summary(state: Path, stage: Stage) -> object:
    root = x509.load_pem_x509_certificate((state / "ttp" / "root.pem").read_bytes())
    server, client = (Identity.load(state / name) for name in ("server", "client"))
    stage.facts.operations += measure_operations(client)
    return summary(stage.facts, root=root, identities=[server, client])
