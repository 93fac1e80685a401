"""What tests of tunnels share: programs behind them, before them, and in place of their halves."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    from asynctls.enrolment import Identity
    from tests.postgresql import Database
    from tests.roles.processes import Daemons, Process

__all__ = [
    "Backend",
    "Others",
    "answer_at_the_end",
    "answer_each",
    "answer_to",
    "asked",
    "asked_for",
    "client_half",
    "opened",
    "pgbench_of",
    "ran",
]

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_PATIENCE_S = 20.0


async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers once it has heard all: it needs the half-close carried over, both ways."""
    asked = await reader.read()
    writer.write(hashlib.sha256(asked).hexdigest().encode() + asked)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def answer_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request, whose length it is told first; ends when the client has."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            length = int.from_bytes(await reader.readexactly(4), "big")
            writer.write(answer_to(await reader.readexactly(length)))
            await writer.drain()
    writer.close()
    await writer.wait_closed()


class Backend:
    """A server without TLS, on TCP or a UNIX socket."""

    def __init__(self, serve: Any = answer_at_the_end) -> None:
        self._serve = serve

    @asynccontextmanager
    async def at(self, path: Path | None = None) -> AsyncIterator[str]:
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.ensure_future(self._serve(reader, writer)))

        if path is None:
            server = await asyncio.start_server(connected, "127.0.0.1", 0)
            where = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        else:
            server = await asyncio.start_unix_server(connected, path)
            where = f"unix:{path}"
        try:
            yield where
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def client_half(
    asynctls: Daemons,
    identity: Identity,
    address: str,
    *more: str,
    listen: str = "127.0.0.1:0",
) -> tuple[Process, str]:
    words = ("--state", identity.folder, "--connect", address, "--server-name", "server")
    started = await asynctls.start("client", *words, "--listen", listen, *more)
    return started, str((await started.event("listening"))["address"])


async def opened(where: str) -> Streams:
    if where.startswith("unix:"):
        return await asyncio.open_unix_connection(where.removeprefix("unix:"))
    host, _, port = where.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def asked(where: str, content: bytes) -> bytes:
    """What comes back until the end, after ``content`` and our end."""
    async with asyncio.timeout(_PATIENCE_S):
        reader, writer = await opened(where)
        writer.write(content)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    return answer


async def asked_for(where: str, content: bytes) -> bytes:
    """The answer to a request whose length is told first: nobody ends before the other."""
    async with asyncio.timeout(_PATIENCE_S):
        reader, writer = await opened(where)
        writer.write(len(content).to_bytes(4, "big") + content)
        answer = await reader.readexactly(64 + len(content))
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    return answer


def answer_to(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + content


class Others:
    """Other programs, none of which outlives its test."""

    def __init__(self, folder: Path, find: Callable[[str], Path], stack: AsyncExitStack) -> None:
        self._folder = folder
        self.find = find
        self._stack = stack

    async def started(self, ready: str, *words: str | Path) -> None:
        """Starts a program, and waits until it has said that."""
        process = await asyncio.create_subprocess_exec(
            *words, stderr=asyncio.subprocess.STDOUT, stdout=asyncio.subprocess.PIPE
        )
        output = process.stdout
        assert output is not None
        said: list[str] = []

        async def end() -> None:
            if process.returncode is None:
                process.kill()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await process.wait()
            # A worker of its own (HAProxy's) has the pipe for a little longer.
            async with asyncio.timeout(_PATIENCE_S):
                await read_on()

        async def read_on() -> None:
            while await output.readline():
                pass

        reading = asyncio.ensure_future(asyncio.sleep(0))
        self._stack.push_async_callback(end)
        async with asyncio.timeout(_PATIENCE_S):
            while ready not in (line := (await output.readline()).decode()):
                assert line, said
                said.append(line)
        reading = asyncio.ensure_future(read_on())

    async def stunnel(self, identity: Identity, *, accept: int, connect: str, client: bool) -> None:
        config = self._folder / "stunnel.conf"
        whom = "verifyChain = yes\n" + ("checkHost = server\n" if client else "")
        config.write_text(
            "foreground = yes\npid =\nsyslog = no\n[tunnel]\n"
            f"client = {'yes' if client else 'no'}\n"
            f"accept = 127.0.0.1:{accept}\nconnect = {connect}\n"
            f"cert = {identity.certificate_file}\nkey = {identity.key_file}\n"
            f"CAfile = {identity.trust_file}\n{whom}"
        )
        await self.started("Configuration successful", self.find("stunnel"), config)

    async def haproxy(
        self, identity: Identity, *, accept: int, connect: str, client: bool, more: str = ""
    ) -> None:
        both = self._folder / "both.pem"
        both.touch(mode=0o600)
        both.write_bytes(identity.certificate_file.read_bytes() + identity.key_file.read_bytes())
        tls = f"ssl crt {both} ca-file {identity.trust_file} verify required {more}"
        near, far = ("", f"{tls} verifyhost server sni str(server)") if client else (tls, "")
        config = self._folder / "haproxy.cfg"
        config.write_text(
            "global\n  log stderr local0\ndefaults\n  mode tcp\n  timeout connect 10s\n"
            "  timeout client 60s\n  timeout server 60s\nlisten tunnel\n"
            f"  bind 127.0.0.1:{accept} {near}\n  server far {connect} {far}\n"
        )
        await self.started("Loading success", self.find("haproxy"), "-W", "-db", "-f", config)

    async def redis(self, path: Path) -> None:
        words = ("--port", "0", "--unixsocket", path, "--save", "", "--dir", self._folder)
        ready = "ready to accept connections"
        await self.started(ready, self.find("redis-server"), *words)


async def ran(*words: str | Path, patience_s: float = 40) -> str:
    """What a program that does its work printed."""
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(patience_s):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


def pgbench_of(database: Database, where: str) -> Callable[..., Awaitable[str]]:
    """PostgreSQL's own load: ``await pgbench("-C", …)`` at an address, as is or a tunnel's."""
    host, _, port = where.rpartition(":")
    reached = ("-h", host, "-p", port, "-U", "postgres", database.name)

    async def run(*words: str, patience_s: float = 40) -> str:
        pgbench = database.server.program("pgbench")
        return await ran(pgbench, *words, *reached, patience_s=patience_s)

    return run
