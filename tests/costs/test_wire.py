"""The relay that records: it changes nothing, passes on every end, and outlives a lost one."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.config import Address
from asynctls.costs.wire import relaying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PATIENCE_S = 20.0


@contextlib.asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[Address]:
    """A server of plain TCP, whose connections have ended when the context does."""
    ended = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(asyncio.ensure_future(handler(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*ended)


async def test_bytes_go_through_as_they_are_and_each_direction_ends_by_itself() -> None:
    question, answer = os.urandom(300_000), os.urandom(500_000)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Its end is passed on while the other direction is still open.
        assert await reader.read(-1) == question
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with listening(serve) as address, relaying(address) as relay:
        reader, writer = await asyncio.open_connection(relay.address.host, relay.address.port)
        writer.write(question)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read(-1) == answer
        writer.close()
        await writer.wait_closed()
        (recording,) = await relay.take()
    assert recording.octets == {True: len(question), False: len(answer)}
    assert all(pieces > 0 for pieces in recording.handed_on.values())
    assert sum(recording.counted(by_client=True).values()) == len(question)


@pytest.mark.parametrize("who", ["client", "server"])
async def test_an_end_that_is_lost_ends_the_other(who: str, logged: Any) -> None:
    lost = asyncio.Event()

    async def talk(writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(os.urandom(60_000))
                await writer.drain()
        except OSError:
            lost.set()
        finally:
            writer.transport.abort()

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100_000)
        writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (leave(reader, writer) if who == "server" else talk(writer))

    async with listening(serve) as address, relaying(address) as relay:
        near = await asyncio.open_connection(relay.address.host, relay.address.port)
        async with asyncio.timeout(PATIENCE_S):
            await (leave(*near) if who == "client" else talk(near[1]))
            await lost.wait()
        (recording,) = await relay.take()
    assert recording.octets[who == "server"] >= 100_000
    assert logged.named("connection failed") == []


async def test_who_goes_on_sending_to_an_end_that_is_gone_is_cut_off(logged: Any) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.close()
        await writer.wait_closed()

    async with listening(serve) as address, relaying(address) as relay:
        reader, writer = await asyncio.open_connection(relay.address.host, relay.address.port)
        writer.write(b"!")
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
            with contextlib.suppress(OSError):
                while not relay.recordings[0].ended.is_set():
                    writer.write(b"!")
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.transport.abort()
        await relay.take()
    assert logged.named("connection failed") == []


async def test_where_nobody_listens_the_relay_knows_why() -> None:
    async with listening(lambda _reader, writer: writer.wait_closed()) as address:
        pass
    async with relaying(address) as relay:
        reader, writer = await asyncio.open_connection(relay.address.host, relay.address.port)
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.transport.abort()
        assert await relay.take() == []
        assert "Connection refused; is 'asynctls server' running there?" in str(relay.failure)
