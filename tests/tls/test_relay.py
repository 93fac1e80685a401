"""Two streams into one another: ends are passed on, and what is cut off is never one."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from asynctls.errors import TruncatedError
from asynctls.tls import Gate, PlainStream, Relay, Stream, client_context, server_context, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.tls.conftest import Handler, Kit

MEBIBYTE = 1 << 20


@dataclass
class Tunnel:
    """Both halves of a tunnel to ``serve``: TLS in the middle, plain TCP at the ends."""

    kit: Kit
    serve: Handler
    near: Relay | None = None
    far: Relay | None = None
    far_tls: Stream | None = None
    failures: list[TruncatedError] = field(default_factory=list)
    port: int = 0

    async def near_half(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        world = self.kit.world
        to_far = await asyncio.open_connection("127.0.0.1", self.far_port)
        tls = await Stream.connect(
            *to_far,
            client_context(trust=world.trust, chain=world.client.chain, key=world.client.key),
            server_hostname="server",
            admit=self.kit.let_in,
            timeout_s=10,
        )
        self.near = Relay(PlainStream(reader, writer), tls)
        await self.carry(self.near)

    async def far_half(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        world = self.kit.world
        self.far_tls = await Stream.accept(
            reader,
            writer,
            server_context(trust=world.trust, chain=world.server.chain, key=world.server.key),
            admit=self.kit.let_in,
            gate=Gate(8),
            timeout_s=10,
        )
        to_server = await asyncio.open_connection("127.0.0.1", self.server_port)
        self.far = Relay(self.far_tls, PlainStream(*to_server))
        await self.carry(self.far)

    async def carry(self, relay: Relay) -> None:
        try:
            await relay.run()
        except TruncatedError as error:
            self.failures.append(error)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with (
            self.kit.listening(self.serve) as self.server_port,
            self.kit.listening(self.far_half) as self.far_port,
            self.kit.listening(self.near_half) as self.port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                yield reader, writer
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_the_end_of_one_direction_is_passed_on_while_the_other_goes_on(kit: Kit) -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read()
        writer.write(b"you sent " + asked)
        writer.close()
        await writer.wait_closed()

    tunnel = Tunnel(kit, answer_at_the_end)
    async with tunnel.open() as (reader, writer):
        writer.write(b"ten bytes.")
        writer.write_eof()
        assert await reader.read() == b"you sent ten bytes."
    assert not tunnel.failures
    assert tunnel.near is not None
    assert (tunnel.near.from_one, tunnel.near.from_other) == (10, 19)


async def test_the_server_may_be_the_one_to_end_first(kit: Kit) -> None:
    heard = []

    async def greet_and_listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"greeting")
        writer.write_eof()
        heard.append(await reader.read())
        writer.close()
        await writer.wait_closed()

    tunnel = Tunnel(kit, greet_and_listen)
    async with tunnel.open() as (reader, writer):
        assert await reader.read() == b"greeting"
        writer.write(b"and still talking")
        await writer.drain()
    assert heard == [b"and still talking"]
    assert not tunnel.failures


async def test_much_goes_both_ways_at_once(kit: Kit) -> None:
    piece = bytes(range(256)) * 256
    rounds = 8 * MEBIBYTE // len(piece)

    async def send(writer: asyncio.StreamWriter) -> str:
        sent = hashlib.sha256()
        for number in range(rounds):
            content = number.to_bytes(4, "big") + piece[4:]
            sent.update(content)
            writer.write(content)
            await writer.drain()
        writer.write_eof()
        return sent.hexdigest()

    async def take(reader: asyncio.StreamReader) -> str:
        taken = hashlib.sha256()
        while content := await reader.read(MEBIBYTE):
            taken.update(content)
        return taken.hexdigest()

    there: list[tuple[str, str]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent, taken = await asyncio.gather(send(writer), take(reader))
        there.append((taken, sent))
        writer.close()
        await writer.wait_closed()

    tunnel = Tunnel(kit, serve)
    async with tunnel.open() as (reader, writer):
        here = await asyncio.gather(send(writer), take(reader))
    assert there == [tuple(here)]
    assert not tunnel.failures


async def test_a_reader_that_pauses_for_long_gets_all_in_the_end(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A close gives up what a peer does not take within its time; a relay must not."""
    monkeypatch.setattr(stream, "CLOSE_TIMEOUT_S", 0.01)
    content = bytes(24 * MEBIBYTE)
    flushing = asyncio.Event()

    async def send_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        writer.close()
        await writer.wait_closed()
        flushing.set()

    tunnel = Tunnel(kit, send_all)
    async with tunnel.open() as (reader, writer):
        writer.write_eof()
        with contextlib.suppress(TimeoutError):
            # It depends on the kernel's buffers whether the server gets rid of it all meanwhile.
            async with asyncio.timeout(0.3):
                await flushing.wait()
        received = 0
        while piece := await reader.read(MEBIBYTE):
            received += len(piece)
    assert received == len(content)
    assert not tunnel.failures


async def test_a_tls_connection_that_is_cut_is_a_reset_and_no_end(kit: Kit) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"a part")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read()
        writer.close()

    tunnel = Tunnel(kit, serve)
    async with tunnel.open() as (reader, _):
        # What arrived before is not withheld.
        assert await reader.readexactly(6) == b"a part"
        assert tunnel.far_tls is not None
        tunnel.far_tls.abort()
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert len(tunnel.failures) == 2


@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_reset_at_one_end_is_a_reset_at_the_other(kit: Kit, who: str) -> None:
    seen: list[BaseException] = []
    resetting = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(5) == b"hello"
        resetting.set()
        if who == "server":
            reset(writer)
            return
        try:
            await reader.read()
        except ConnectionResetError as error:
            seen.append(error)
        writer.close()

    tunnel = Tunnel(kit, serve)
    async with tunnel.open() as (reader, writer):
        writer.write(b"hello")
        await resetting.wait()
        if who == "client":
            reset(writer)
        else:
            with pytest.raises(ConnectionResetError) as caught:
                await reader.read()
            seen.append(caught.value)
    assert len(seen) == 1
    assert len(tunnel.failures) == 2


async def test_an_answer_before_the_question_is_over_arrives_whole(kit: Kit) -> None:
    """As from an HTTP server that refuses what it has read only the beginning of."""

    async def refuse_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(5)
        writer.write(b"too much")
        writer.write_eof()
        # It takes no more, and closes once the other side has seen that.
        await answered.wait()
        writer.close()

    answered = asyncio.Event()
    tunnel = Tunnel(kit, refuse_early)
    async with tunnel.open() as (reader, writer):
        writer.write(bytes(MEBIBYTE))
        assert await reader.read() == b"too much"
        answered.set()


async def test_a_relay_that_is_cancelled_ends_both_connections(kit: Kit) -> None:
    seen: list[Exception] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        try:
            await reader.read()
        except ConnectionResetError as error:
            seen.append(error)
        writer.close()

    async with kit.listening(serve) as port:
        ends = [PlainStream(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(2)]
        before = asyncio.all_tasks()
        task = asyncio.create_task(Relay(*ends).run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        for end in ends:
            with pytest.raises(TruncatedError, match="closed"):
                end.write(b"after the end")
        assert asyncio.all_tasks() == before
    assert len(seen) == 2


class Endless:
    """A peer that sends without end and takes nothing."""

    def __init__(self) -> None:
        self.given = 0
        self.full = asyncio.Event()

    async def read(self, n: int) -> bytes:
        self.given += n
        return bytes(n)

    def write(self, data: bytes) -> None:
        self.full.set()

    async def drain(self) -> None:
        await asyncio.Event().wait()

    async def flush(self) -> None:
        await self.drain()

    def write_eof(self) -> None:
        raise AssertionError("it has no end")

    async def close(self) -> None:
        raise AssertionError("it has no end")

    def abort(self) -> None:
        self.full.clear()


async def test_nothing_more_is_read_while_the_other_side_takes_nothing() -> None:
    ends = Endless(), Endless()
    relay = Relay(*ends)
    task = asyncio.create_task(relay.run())
    for end in ends:
        await end.full.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [end.given for end in ends] == [1 << 16] * 2
    assert (relay.from_one, relay.from_other) == (0, 0)
    assert not any(end.full.is_set() for end in ends)


async def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()
        await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    path = tmp_path / "echo"
    here, there = socket.socketpair()
    server = await asyncio.start_unix_server(echo, path)
    relay = Relay(
        PlainStream(*await asyncio.open_connection(sock=there)),
        PlainStream(*await asyncio.open_unix_connection(path)),
    )
    reader, writer = await asyncio.open_connection(sock=here)
    task = asyncio.create_task(relay.run())
    writer.write(b"there and back")
    writer.write_eof()
    assert await reader.read() == b"there and back"
    await task
    await done.wait()
    writer.close()
    await writer.wait_closed()
    server.close()
