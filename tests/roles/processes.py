"""``asynctls`` as real processes on the loop of the test, and what they log, event by event."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.given import give, on_stdin
from tests.ports import free_port
from tests.remarks import is_remark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from asynctls.enrolment import Identity

__all__ = ["Daemons", "Ended", "Event", "Process", "run_program"]

Event = dict[str, Any]

_PATIENCE_S = 60.0
_LINE_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended. ``said`` is what it told a person: standard error but for the log."""

    code: int
    out: bytes
    said: list[str]


@dataclass(slots=True)
class Process:
    """One command that runs; what it writes is read as it comes."""

    process: asyncio.subprocess.Process
    events: list[Event] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _out: asyncio.Task[bytes] | None = None
    _err: asyncio.Task[None] | None = None

    def read(self) -> None:
        if self.process.stdout is not None:
            self._out = asyncio.create_task(self.process.stdout.read())
        self._err = asyncio.create_task(self._read_log())

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            text = line.decode().rstrip("\n")
            if is_remark(text):
                continue
            if text.startswith("{"):
                self.events.append(json.loads(text))
            else:
                self.said.append(text)
            self._news.set()

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event["event"] == name]

    async def event(self, name: str, *, count: int = 1) -> Event:
        """The event of that name, or the ``count``-th of them, as soon as it is logged."""
        await self.until(lambda: len(self.named(name)) >= count, name)
        return self.named(name)[count - 1]

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits until something holds of what was written."""
        assert self._err is not None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while not holds():
                    if self._err.done():
                        pytest.fail(f"ended without {what!r}: {self.events} {self.said}")
                    self._news.clear()
                    news = asyncio.create_task(self._news.wait())
                    await asyncio.wait((news, self._err), return_when=asyncio.FIRST_COMPLETED)
                    news.cancel()
                    await asyncio.gather(news, return_exceptions=True)
        except TimeoutError:
            pytest.fail(f"no {what!r} in {_PATIENCE_S:g} s: {self.events} {self.said}")

    async def give(self, content: bytes, *, end: bool = False) -> None:
        """More standard input, and its end."""
        assert self.process.stdin is not None
        give(self.process, content)
        if end:
            self.process.stdin.close()
        else:
            await self.process.stdin.drain()

    async def received(self, count: int) -> None:
        """Waits until a client has received that many messages."""
        await self.until(
            lambda: self.said.count("Message received") >= count, f"{count} messages received"
        )

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, *, within_s: float = _PATIENCE_S) -> Ended:
        async with asyncio.timeout(within_s):
            code = await self.process.wait()
            out = b"" if self._out is None else await self._out
            if self._err is not None:
                await self._err
        return Ended(code, out, self.said)

    async def stop(self) -> Ended:
        """SIGTERM, and its end."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()


class Daemons:
    """Starts commands; ``end`` kills what is left and looks for what none of them may show."""

    def __init__(self, home: Path) -> None:
        self.inside: tuple[str, ...] = ()
        """A program, and its words, that each command is run by: as to be in other namespaces."""
        self.variables: dict[str, str] = {}
        """What each command has in its environment besides."""
        self._home = home
        self._started: list[Process] = []

    def environ(self) -> dict[str, str]:
        """A home of its own, none of the settings of whoever runs the tests, and the test's loop.

        Every warning is an error, and asyncio looks closely.
        """
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        others = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCTLS_", "XDG_"))}
        return others | {
            "HOME": str(self._home),
            "ASYNCTLS_LOOP": loop,
            "PYTHONWARNINGS": "error",
            "PYTHONASYNCIODEBUG": "1",
            **self.variables,
        }

    async def start(
        self,
        *words: str | Path,
        given: str | None = "",
        environ: Mapping[str, str] | None = None,
        stdout: int = asyncio.subprocess.PIPE,
    ) -> Process:
        """Starts ``asynctls`` with these words, the log as JSON.

        ``given`` is standard input; with None it stays open, for ``Process.give``.
        """
        started = Process(
            await asyncio.create_subprocess_exec(
                *(*self.inside, sys.executable),
                *("-m", "asynctls", *map(str, words)),
                stdin=asyncio.subprocess.PIPE,
                stdout=stdout,
                stderr=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES,
                cwd=self._home,
                env={**self.environ(), **(environ or {})},
            )
        )
        self._started.append(started)
        started.read()
        if given is not None:
            await started.give(given.encode(), end=True)
        return started

    async def run(
        self, *words: str | Path, given: str = "", environ: Mapping[str, str] | None = None
    ) -> Ended:
        """A command, to its end."""
        return await (await self.start(*words, given=given, environ=environ)).ended()

    async def ttp(self, folder: Path, *words: str) -> tuple[Process, str]:
        """A TTP that listens, and where; its CAs have keys that are made quickly.

        Once it has ended nobody else gets its port; and so it is with the server.
        """
        keys = ("--root-key-type", "ecdsa-p256", "--issuing-key-type", "ecdsa-p256")
        listen = ("--listen", f"127.0.0.1:{free_port()}")
        started = await self.start("ttp", "--state", folder, *listen, *keys, *words)
        return started, str((await started.event("listening"))["address"])

    async def server(self, identity: Identity, *words: str) -> tuple[Process, str]:
        """A server that listens, and where; 'client' may come in."""
        listen = ("--listen", f"127.0.0.1:{free_port()}", "--allow", "client")
        started = await self.start("server", "--state", identity.folder, *listen, *words)
        return started, str((await started.event("listening"))["address"])

    async def client(
        self,
        identity: Identity,
        address: str,
        *words: str,
        given: str | None = "",
        stdout: int = asyncio.subprocess.PIPE,
    ) -> Process:
        """A client of the server at ``address``, which is named 'server'."""
        connect = ("--state", identity.folder, "--connect", address, "--server-name", "server")
        return await self.start("client", *connect, *words, given=given, stdout=stdout)

    async def end(self) -> None:
        for each in self._started:
            await each.kill()
        for each in self._started:
            for event in each.events:
                assert "exception" not in event, event
            for line in each.said:
                assert "Traceback" not in line, each.said
                assert "Exception ignored" not in line, each.said


async def run_program(*words: str | Path, given: bytes = b"") -> Ended:
    """Another program, to its end; ``said`` is all that it wrote to standard error."""
    with on_stdin(given) as stdin:
        process = await asyncio.create_subprocess_exec(
            *map(str, words),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_PATIENCE_S):
            out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out, err.decode(errors="replace").splitlines())
