"""What arrives at one connection goes into another at once, and waking is for what is no data."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from asynctls.errors import TruncatedError
from asynctls.tls import Gate, PlainStream, Stream, client_context, server_context
from asynctls.tls.incoming import MOST_IN_BIO_BYTES, Incoming
from asynctls.tls.pouring import Due, pour

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.tls.conftest import Kit

MEBIBYTE = 1 << 20
Program = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def plain() -> AsyncIterator[tuple[PlainStream, asyncio.StreamReader, Program]]:
    """A stream, its reader, and the program at its other end."""
    here, there = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    program = await asyncio.open_connection(sock=there)
    try:
        yield PlainStream(reader, writer), reader, program
    finally:
        for each in (writer, program[1]):
            each.transport.abort()
            with suppress(OSError):
                await each.wait_closed()


@asynccontextmanager
async def encrypted(kit: Kit) -> AsyncIterator[tuple[Stream, Stream]]:
    """Both ends of a TLS connection."""
    world, server = kit.world, asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = server_context(trust=world.trust, chain=world.server.chain, key=world.server.key)
        stream = await Stream.accept(
            reader, writer, context, admit=kit.let_in, gate=Gate(8), timeout_s=10
        )
        server.set_result(stream)

    async with kit.listening(accept) as port:
        context = client_context(trust=world.trust, chain=world.client.chain, key=world.client.key)
        client = await Stream.connect(
            *await asyncio.open_connection("127.0.0.1", port),
            context,
            server_hostname="server",
            admit=kit.let_in,
            timeout_s=10,
        )
        try:
            yield client, await server
        finally:
            for each in (client, await server):
                each.abort()


async def test_what_is_data_wakes_nobody_and_an_end_is_left_for_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with plain() as (source, reader, (_, sends)), plain() as (sink, _, (hears, _)):
        # What came before is not lost, and comes first.
        sends.write(b"early, ")
        fed = asyncio.Event()
        taken: list[int] = []
        feed = reader.feed_data

        def noted(data: bytes) -> None:
            feed(data)
            fed.set()

        monkeypatch.setattr(reader, "feed_data", noted)
        await fed.wait()
        fed.clear()
        pouring = asyncio.create_task(pour(source, sink, taken.append))
        assert await hears.readexactly(7) == b"early, "
        for piece in (b"then this, ", b"and that"):
            sends.write(piece)
            assert await hears.readexactly(len(piece)) == piece
        assert not fed.is_set()
        sends.write_eof()
        await pouring
        assert await source.read() == b""
        assert taken == [7, 11, 8]


async def test_afterwards_a_connection_is_read_as_before(kit: Kit) -> None:
    async with encrypted(kit) as (client, server), plain() as (sink, _, (hears, _)):
        pouring = asyncio.create_task(pour(server, sink, lambda _: None))
        client.write(b"poured")
        assert await hears.readexactly(6) == b"poured"
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
        client.write(b"read")
        assert await server.read() == b"read"
        client.write_eof()
        await pour(server, sink, lambda _: None)
        assert await server.read() == b""
        assert server.plaintext_received == 10


async def test_a_sink_that_takes_nothing_stops_the_source_and_loses_nothing(kit: Kit) -> None:
    async with encrypted(kit) as (client, server), plain() as (sink, _, (hears, _)):
        kept = sink.connection[1].transport
        most = 0

        def carried(_octets: int) -> None:
            nonlocal most
            most = max(most, kept.get_write_buffer_size())

        content = bytes(range(256)) * (32 * MEBIBYTE // 256)
        pouring = asyncio.create_task(pour(server, sink, carried))

        async def send() -> None:
            for at in range(0, len(content), MEBIBYTE):
                client.write(content[at : at + MEBIBYTE])
                await client.drain()
            client.write_eof()

        sending = asyncio.create_task(send())
        paused = asyncio.Event()
        # It is full on all of the way: nobody reads at its end yet.
        while not paused.is_set():
            before = server.plaintext_received
            await asyncio.wait((sending,), timeout=0.05)
            if server.plaintext_received == before > 0:
                paused.set()
        assert not sending.done()
        assert await hears.readexactly(len(content)) == content
        await sending
        await pouring
        assert 0 < most < MEBIBYTE


async def test_records_of_a_byte_are_handed_on_a_few_at_a_time(kit: Kit) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with encrypted(kit) as (client, server), plain() as (sink, _, (hears, _)):
        for _ in range(100):
            client.write(b"x")
        received = await server.connection[0].readexactly(100 * (5 + 8 + 1 + 16))
        data, due = server.arrived(memoryview(received))
        assert (bytes(data), due) == (b"x" * 32, Due.REST)
        handed_on: list[tuple[int, int]] = []
        other = asyncio.create_task(others())
        pouring = asyncio.create_task(
            pour(server, sink, lambda octets: handed_on.append((turns, octets)))
        )
        assert await hears.readexactly(68) == b"x" * 68
        other.cancel()
        assert [octets for _, octets in handed_on] == [32, 32, 4]
        # Others had their turn in between.
        assert len({turn for turn, _ in handed_on}) == 3
        client.write(b"y")
        assert await hears.readexactly(1) == b"y"
        client.write_eof()
        await pouring


async def test_of_many_records_openssl_is_handed_a_few_full_ones_and_more_when_they_are_read(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with encrypted(kit) as (client, server), plain() as (sink, _, (hears, _)):
        taken: list[int] = []
        handed: list[int] = []
        lend, more = Incoming.lend, Incoming.more

        def lent(incoming: Incoming, received: memoryview) -> None:
            taken.append(len(received))
            lend(incoming, received)

        def noted(incoming: Incoming) -> bool:
            there_is = more(incoming)
            handed.append(incoming.bio.pending)
            return there_is

        monkeypatch.setattr(Incoming, "lend", lent)
        monkeypatch.setattr(Incoming, "more", noted)
        pouring = asyncio.create_task(pour(server, sink, lambda _: None))
        client.write(b"x")
        assert await hears.readexactly(1) == b"x"
        for _ in range(20_000):
            client.write(b"x")
        assert await hears.readexactly(20_000) == b"x" * 20_000
        client.write_eof()
        await pouring
        assert max(handed) == MOST_IN_BIO_BYTES < max(taken)


async def test_what_a_stretch_leaves_is_the_connections_own_and_comes_first(kit: Kit) -> None:
    async with encrypted(kit) as (client, server):
        for number in range(4000):
            client.write(b"%04d" % number)
        lent = bytearray(await server.connection[0].readexactly(4000 * (5 + 8 + 4 + 16)))
        plaintext, due = server.arrived(memoryview(lent))
        lent[:] = bytes(len(lent))
        assert due is Due.REST
        client.write(b"later")
        while not plaintext.endswith(b"later"):
            plaintext += await server.read()
        assert plaintext == b"".join(b"%04d" % number for number in range(4000)) + b"later"


async def test_what_waits_is_not_copied_again_for_each_stretch(kit: Kit) -> None:
    async with encrypted(kit) as (client, server):
        for _ in range(4000):
            client.write(b"four")
        received = await server.connection[0].readexactly(4000 * (5 + 8 + 4 + 16))
        server.arrived(memoryview(received))
        kept = server._engine._incoming._waiting.obj
        assert server.arrived(memoryview(b"")) == (b"four" * 32, Due.REST)
        assert server._engine._incoming._waiting.obj is kept


async def test_after_an_end_nothing_is_kept(kit: Kit) -> None:
    async with encrypted(kit) as (client, server):
        client.write(b"all")
        client.write_eof()
        reader = server.connection[0]
        received = await reader.readexactly((5 + 8 + 3 + 16) + (5 + 8 + 2 + 16))
        assert server.arrived(memoryview(received + bytes(1 << 17))) == (b"all", Due.WORD)
        assert not server._engine._incoming._waiting


async def test_a_sink_that_is_lost_ends_it_and_the_source_stays(kit: Kit) -> None:
    async with encrypted(kit) as (client, server), plain() as (sink, _, _):
        pouring = asyncio.create_task(pour(server, sink, lambda _: None))
        await asyncio.sleep(0)
        sink.abort()
        client.write(b"for nobody")
        with pytest.raises(TruncatedError, match="closed"):
            await pouring
        client.write(b"for read")
        assert await server.read() == b"for read"


@pytest.mark.parametrize("how", ["cut", "reset"])
async def test_a_source_that_is_cut_off_is_for_read_to_tell(kit: Kit, how: str) -> None:
    async with encrypted(kit) as (client, server), plain() as (sink, _, (hears, _)):
        pouring = asyncio.create_task(pour(server, sink, lambda _: None))
        client.write(b"all there was")
        assert await hears.readexactly(13) == b"all there was"
        writer = client.connection[1]
        if how == "cut":
            writer.write_eof()
        else:
            client.abort()
        await pouring
        with pytest.raises(TruncatedError):
            await server.read()
