"""Tunnels: both of our halves, and each half against programs that nobody here wrote."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import signal
import socket
import stat
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.testing import CA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from asynctls.enrolment import Identity
    from tests.postgresql import Database, PostgreSQL
    from tests.roles.processes import Daemons, Process

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_PATIENCE_S = 20.0


@pytest.fixture
def ca(tmp_path: Path) -> CA:
    folder = tmp_path / "ca"
    folder.mkdir()
    return CA(folder)


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
    asynctls: Daemons, identity: Identity, address: str, *, listen: str = "127.0.0.1:0"
) -> tuple[Process, str]:
    words = ("--state", identity.folder, "--connect", address, "--server-name", "server")
    started = await asynctls.start("client", *words, "--listen", listen)
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


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_ten_bytes_or_many_come_through_with_their_ends(
    asynctls: Daemons, ca: CA, tmp_path: Path, kind: str
) -> None:
    unix = kind == "unix"
    async with Backend().at(tmp_path / "backend" if unix else None) as backend:
        _, address = await asynctls.server(ca.identity("server"), "--app", f"forward:{backend}")
        listen = f"unix:{tmp_path / 'local'}" if unix else "127.0.0.1:0"
        client, where = await client_half(asynctls, ca.identity("client"), address, listen=listen)
        contents = [b"ten bytes.", b"", bytes(5_000_000)]
        answers = await asyncio.gather(*(asked(where, content) for content in contents))
        assert answers == [answer_to(content) for content in contents]
        if unix:
            assert stat.S_IMODE((tmp_path / "local").stat().st_mode) == 0o600
        await client.event("stream ended", count=3)
        assert {str(each["reason"]) for each in client.named("stream ended")} == {
            "both ends closed it"
        }
        assert (await client.stop()).code == 0
        assert not (tmp_path / "local").exists()


async def test_what_a_killed_client_left_behind_is_replaced_and_what_is_alive_is_not(
    asynctls: Daemons, ca: CA, tmp_path: Path
) -> None:
    path, identity = tmp_path / "local", ca.identity("client")
    killed, where = await client_half(asynctls, identity, "127.0.0.1:1", listen=f"unix:{path}")
    await killed.kill()
    assert path.exists()
    alive, _ = await client_half(asynctls, identity, "127.0.0.1:1", listen=where)
    words = ("--state", identity.folder, "--listen", where)
    ended = await asynctls.run("client", *words)
    assert ended.code == 2
    assert "client.listen" in "".join(ended.said)
    assert path.exists()
    assert (await alive.stop()).code == 0
    path.write_text("no socket")
    assert (await asynctls.run("client", *words)).code == 2
    assert path.read_text() == "no socket"


async def test_a_tunnel_that_is_told_to_stop_lets_what_is_under_way_end(
    asynctls: Daemons, ca: CA
) -> None:
    async with Backend().at() as backend:
        server, address = await asynctls.server(
            ca.identity("server"), "--app", f"forward:{backend}"
        )
        client, where = await client_half(asynctls, ca.identity("client"), address)
        reader, writer = await opened(where)
        writer.write(b"under way")
        await server.event("stream started")
        for each in (client, server):
            each.signal(signal.SIGTERM)
            await each.event("draining")
        with pytest.raises(ConnectionRefusedError):
            await opened(where)
        writer.write_eof()
        assert await reader.read() == answer_to(b"under way")
        writer.close()
        assert [(await each.ended()).code for each in (client, server)] == [0, 0]


async def test_where_no_tunnel_is_nobody_takes_it_for_an_end(asynctls: Daemons, ca: CA) -> None:
    async with Backend().at() as backend:
        pass
    server, address = await asynctls.server(ca.identity("server"), "--app", f"forward:{backend}")
    client, where = await client_half(asynctls, ca.identity("client"), address)
    with pytest.raises(ConnectionResetError):
        await asked(where, b"is anybody there?")
    assert f"forwarded to, {backend}, cannot be reached" in str(
        (await server.event("stream ended"))["reason"]
    )
    stranger, elsewhere = await client_half(asynctls, ca.identity("stranger"), address)
    with pytest.raises(ConnectionResetError):
        await asked(elsewhere, b"may I?")
    assert "not on its allow list" in str((await stranger.event("connection failed"))["error"])
    assert (await server.event("refused"))["alert"] == 49
    await server.stop()
    with pytest.raises(ConnectionResetError):
        await asked(where, b"is anybody there?")
    await client.until(
        lambda: any("cannot be reached" in str(e.get("error")) for e in client.events),
        "a server that cannot be reached",
    )


async def test_a_client_of_sessions_is_no_half_of_a_tunnel(asynctls: Daemons, ca: CA) -> None:
    async with Backend().at() as backend:
        _, address = await asynctls.server(ca.identity("server"), "--app", f"forward:{backend}")
        ended = await (await asynctls.client(ca.identity("client"), address)).ended()
    assert ended.code == 1
    assert "--listen" in "".join(ended.said)


# Other programs


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Others:
    """Other programs, none of which outlives its test."""

    def __init__(self, folder: Path, find: Callable[[str], Path], stack: AsyncExitStack) -> None:
        self._folder = folder
        self._find = find
        self._stack = stack

    async def _started(self, ready: str, *words: str | Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *words, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        assert process.stderr is not None
        said: list[str] = []

        async def end() -> None:
            if process.returncode is None:
                process.kill()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await process.wait()

        async def read_on() -> None:
            assert process.stderr is not None
            while await process.stderr.readline():
                pass

        reading = asyncio.ensure_future(asyncio.sleep(0))
        self._stack.push_async_callback(end)
        async with asyncio.timeout(_PATIENCE_S):
            while ready not in (line := (await process.stderr.readline()).decode()):
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
        await self._started("Configuration successful", self._find("stunnel"), config)

    async def haproxy(self, identity: Identity, *, accept: int, connect: str, client: bool) -> None:
        both = self._folder / "both.pem"
        both.touch(mode=0o600)
        both.write_bytes(identity.certificate_file.read_bytes() + identity.key_file.read_bytes())
        tls = f"ssl crt {both} ca-file {identity.trust_file} verify required"
        near, far = ("", f"{tls} verifyhost server sni str(server)") if client else (tls, "")
        config = self._folder / "haproxy.cfg"
        config.write_text(
            "global\n  log stderr local0\ndefaults\n  mode tcp\n  timeout connect 10s\n"
            "  timeout client 60s\n  timeout server 60s\nlisten tunnel\n"
            f"  bind 127.0.0.1:{accept} {near}\n  server far {connect} {far}\n"
        )
        await self._started("Loading success", self._find("haproxy"), "-W", "-db", "-f", config)


@pytest.fixture
async def others(tmp_path: Path, program: Callable[[str], Path]) -> AsyncIterator[Others]:
    folder = tmp_path / "others"
    folder.mkdir()
    async with AsyncExitStack() as stack:
        yield Others(folder, program, stack)


WAYS = [
    pytest.param(answer_at_the_end, asked, 10, id="half-close"),
    pytest.param(answer_each, asked_for, 3_000_000, id="much"),
]

# stunnel 5.68 itself drops the rest of a long answer, now and then, when the client ended first (it
# logs fewer bytes than it read): what ends first is short here, and what is long waits for its end.


@pytest.mark.parametrize("other", ["stunnel", "haproxy"])
@pytest.mark.parametrize(("serve", "ask", "size"), WAYS)
async def test_the_client_half_can_be_another_program(
    asynctls: Daemons, ca: CA, others: Others, other: str, serve: Any, ask: Any, size: int
) -> None:
    content = bytes(size)
    async with Backend(serve).at() as backend:
        server, address = await asynctls.server(
            ca.identity("server"), "--app", f"forward:{backend}"
        )
        port = free_port()
        await getattr(others, other)(
            ca.identity("client"), accept=port, connect=address, client=True
        )
        assert await ask(f"127.0.0.1:{port}", content) == answer_to(content)
        ended = await server.event("stream ended")
        assert ended["reason"] == "both ends closed it"
        assert str(ended["peer"]).startswith("client ")


@pytest.mark.parametrize("other", ["stunnel", "haproxy"])
@pytest.mark.parametrize(("serve", "ask", "size"), WAYS)
async def test_the_server_half_can_be_another_program(
    asynctls: Daemons, ca: CA, others: Others, other: str, serve: Any, ask: Any, size: int
) -> None:
    content = bytes(size)
    async with Backend(serve).at() as backend:
        port = free_port()
        await getattr(others, other)(
            ca.identity("server"), accept=port, connect=backend, client=False
        )
        client, where = await client_half(asynctls, ca.identity("client"), f"127.0.0.1:{port}")
        assert await ask(where, content) == answer_to(content)
        await client.event("stream ended")


async def test_a_database_is_served_through_a_tunnel(
    asynctls: Daemons, ca: CA, postgres: Database, program: Callable[[str], Path]
) -> None:
    pgbench = program("pgbench")
    server_: PostgreSQL = postgres.server
    server, address = await asynctls.server(
        ca.identity("server"), "--app", f"forward:127.0.0.1:{server_.port}"
    )
    client, where = await client_half(asynctls, ca.identity("client"), address)
    host, _, port = where.rpartition(":")
    connection = ("-h", host, "-p", port, "-U", "postgres", postgres.name)

    async def run(*words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            pgbench,
            *words,
            *connection,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(40):
            out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    await run("-i", "-q", "-s", "1")
    # A connection for each transaction, four at once.
    assert "number of failed transactions: 0 " in await run("-C", "-c", "4", "-t", "10")
    assert "number of failed transactions: 0 " in await run("-c", "4", "-t", "100")
    await server.until(
        lambda: len(server.named("stream ended")) == len(server.named("stream started")),
        "the end of all",
    )
    ends = {str(each["reason"]) for each in server.named("stream ended")}
    assert ends == {"both ends closed it"}
    assert not client.named("connection failed")
