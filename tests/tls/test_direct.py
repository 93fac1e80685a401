"""A stream whose reader is called when there is something, and waits in no task."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, cast

import pytest

from asynctls.errors import TruncatedError
from tests.tls.test_pouring import encrypted

if TYPE_CHECKING:
    from asynctls.tls import Stream
    from tests.tls.conftest import Kit

LIMIT_S = 20.0


class Reading:
    """Reads a stream whenever it is called; ``ended`` is done at the end, however that is."""

    def __init__(self, stream: Stream) -> None:
        self.got = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stream = stream
        stream.deliver(self.read_on)
        self.read_on()

    def read_on(self) -> None:
        try:
            more = True
            while more and not self.ended.done():
                piece, more = self._stream.read_now()
                self.got += piece or b""
                if piece == b"":
                    self.ended.set_result(None)
        except TruncatedError as error:
            if not self.ended.done():
                self.ended.set_exception(error)


async def test_what_arrives_is_read_when_it_is_there_and_the_end_is_told(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        reading = Reading(server)
        for _ in range(100):
            client.write(bytes(10_000))
            await client.drain()
        client.write_eof()
        await reading.ended
        assert len(reading.got) == server.plaintext_received == 1_000_000
        server.write(b"and an answer")
        assert await client.read() == b"and an answer"


async def test_the_last_record_that_has_come_is_known_to_be_the_last(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        server.deliver(lambda: None)
        assert server._direct is not None
        server._direct.data_received(records(client, b"first") + records(client, b"last"))
        assert server.read_now() == (b"first", True)
        assert server.read_now() == (b"last", False)
        assert server.read_now() == (None, False)
        first = records(client, b"in two")
        server._direct.data_received(first[:9])
        assert server.read_now() == (None, False)
        server._direct.data_received(first[9:])
        assert server.read_now() == (b"in two", False)


async def test_what_came_in_two_pieces_is_known_until_both_are_read(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        server.deliver(lambda: None)
        assert server._direct is not None
        for message in (b"first", b"last"):
            server._direct.data_received(records(client, message))
        assert server.read_now() == (b"first", True)
        assert server.read_now() == (b"last", False)


async def test_an_end_that_was_met_behind_full_records_is_told_behind_them(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        server.deliver(lambda: None)
        assert server._direct is not None
        content = records(client, bytes(1 << 14))
        client._engine.close_notify()
        server._direct.data_received(content + client._engine.data_to_send())
        assert server.read_now() == (bytes(1 << 14), True)
        assert server.read_now()[0] == b""


async def test_so_is_a_damaged_record(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        server.deliver(lambda: None)
        assert server._direct is not None
        damaged = bytearray(records(client, bytes(1 << 14)) + records(client, b"damaged"))
        damaged[-1] ^= 1
        server._direct.data_received(bytes(damaged))
        assert server.read_now() == (bytes(1 << 14), True)
        with pytest.raises(TruncatedError):
            server.read_now()


async def test_of_what_arrived_the_part_that_was_handed_on_is_not_kept(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        server.deliver(lambda: None)
        assert server._direct is not None
        arrived = records(client, bytes(120_000))
        server._direct.data_received(arrived)
        (left,) = server._direct._unread
        assert isinstance(left, bytes)
        assert arrived.endswith(left)
        while server.read_now()[0] is not None:
            pass
        assert server.plaintext_received == 120_000


async def test_a_piece_that_is_large_by_itself_pauses_the_transport_until_it_is_read(
    kit: Kit,
) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        server.deliver(lambda: None)
        direct = server._direct
        assert direct is not None
        direct.data_received(records(client, bytes(200_000)))
        assert not direct._transport.is_reading()
        while server.read_now()[0] is not None:
            pass
        assert server.plaintext_received == 200_000
        assert direct._unread_bytes == 0
        assert direct._transport.is_reading()


async def test_a_loss_behind_the_last_record_is_known_as_well(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        told = asyncio.Event()
        server.deliver(told.set)
        assert server._direct is not None
        server._direct.data_received(records(client, b"last"))
        told.clear()
        server.abort()
        await told.wait()
        assert server.read_now() == (b"last", True)
        with pytest.raises(TruncatedError, match="closed at this end"):
            server.read_now()


async def test_nothing_is_read_while_the_peer_takes_no_answers(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        transport = cast("asyncio.Transport", server.connection[1].transport)
        while not transport.get_write_buffer_size() > 1 << 17:
            server.write(bytes(1 << 16))
        server.deliver(lambda: None)
        assert server._direct is not None
        server._direct.data_received(records(client, b"a question"))
        # As OpenSSL's own to a renegotiation, it leaves with the next read.
        server._engine.write(b"an answer")
        assert server.read_now()[0] == b"a question"
        assert server.read_now() == (None, False)
        assert not transport.is_reading()
        draining = asyncio.create_task(server.drain())
        while not draining.done():
            await client.read()
        assert transport.is_reading()


async def test_what_lay_in_the_reader_is_not_lost(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        client.write(b"x" * 60_000)
        client.write_eof()
        await client.drain()
        assert await server.read(1) == b"x"
        reading = Reading(server)
        await reading.ended
        assert reading.got == b"x" * 59_999


async def test_whoever_does_not_read_slows_the_peer_down(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        told = asyncio.Event()
        server.deliver(told.set)
        most = 64 << 20
        written = 0
        draining = asyncio.ensure_future(asyncio.sleep(0))
        while written < most:
            client.write(bytes(1 << 16))
            written += 1 << 16
            draining = asyncio.ensure_future(client.drain())
            done, _ = await asyncio.wait({draining}, timeout=0.5)
            if not done:
                break
        assert told.is_set()
        assert written < most
        while not draining.done() or server.plaintext_received < written:
            if server.read_now()[0] is None:
                await asyncio.sleep(0)
        assert server.plaintext_received == written


def records(stream: Stream, content: bytes) -> bytes:
    """What the stream would send."""
    stream._engine.write(content)
    return stream._engine.data_to_send()


async def test_a_reader_that_is_full_is_emptied(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        server.connection[0].feed_data(records(client, bytes(380_000)))
        client.write_eof()
        reading = Reading(server)
        await reading.ended
        assert len(reading.got) == 380_000


async def test_the_engine_s_buffer_stays_small(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        server.deliver(lambda: None)
        assert server._direct is not None
        most = 0
        server._direct.data_received(records(client, bytes(250_000)))
        while server.read_now(1 << 14)[0] is not None:
            most = max(most, server._engine._incoming.bio.pending)
        assert server.plaintext_received == 250_000
        assert 0 < most <= 1 << 16


async def test_a_transport_that_is_full_already_is_known_to_be(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        while not server.connection[1].transport.get_write_buffer_size() > 1 << 17:
            server.write(bytes(1 << 16))
        server.deliver(lambda: None)
        assert server.congested
        draining = asyncio.create_task(server.drain())
        while not draining.done():
            await client.read()
        assert not server.congested


async def test_a_loss_is_told(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        reading = Reading(server)
        client.write(b"first")
        await client.flush()
        client.abort()
        with pytest.raises(TruncatedError):
            await reading.ended
        assert reading.got == b"first"


async def test_our_own_abort_is_told_too(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (_, server):
        reading = Reading(server)
        server.abort()
        with pytest.raises(TruncatedError, match="closed at this end"):
            await reading.ended


async def test_a_close_still_waits_for_the_peer_s_end(kit: Kit) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        Reading(server)
        server.write(b"the last word")
        closing = asyncio.create_task(server.close())
        assert await client.read() == b"the last word"
        assert await client.read() == b""
        await client.close()
        await closing


async def test_nothing_is_read_so_from_a_stream_that_calls_nobody(kit: Kit) -> None:
    async with encrypted(kit) as (_, server):
        with pytest.raises(RuntimeError, match="read_now"):
            server.read_now()


@pytest.mark.parametrize(
    ("how", "told"), [("closed here", "no close_notify"), ("reset", "the connection was lost")]
)
async def test_a_connection_that_is_lost_already_is_read_to_its_end_and_closed(
    kit: Kit, how: str, told: str
) -> None:
    async with asyncio.timeout(LIMIT_S), encrypted(kit) as (client, server):
        _, writer = server.connection
        if how == "reset":
            connection = client.connection[1].get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.abort()
        else:
            server.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        reading = Reading(server)
        with pytest.raises(TruncatedError, match=told):
            await reading.ended
        await server.close()
