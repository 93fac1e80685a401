"""A session as a stream of bytes: the pieces, the ends, and what is never taken for an end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from asynctls.errors import ErrorCode, TruncatedError
from asynctls.session import Limits, Session, SessionStream, stream_limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.session.conftest import Ends, MakeEnds

PIECE = bytes(range(256)) * 256
LIMITS = stream_limits(Limits())


@asynccontextmanager
async def opened(ends: Ends) -> AsyncIterator[tuple[Session, Session]]:
    """Client and server in a session whose end is the test's own."""
    client, server = ends.client(), ends.server()
    async with asyncio.timeout(20):
        await asyncio.gather(client.__aenter__(), server.__aenter__())
        try:
            yield client, server
        finally:
            for each in (client, server):
                each.abort("the test is over")
            await asyncio.gather(*(each.__aexit__(None, None, None) for each in (client, server)))


@pytest.fixture
def ends(make_ends: MakeEnds) -> Ends:
    return make_ends(limits=LIMITS)


async def said_all(stream: SessionStream) -> None:
    stream.write_eof()
    await stream.flush()


async def test_each_direction_ends_by_itself_and_then_both_are_closed(ends: Ends) -> None:
    async with opened(ends) as sessions:
        client, server = map(SessionStream, sessions)
        client.write(PIECE)
        await said_all(client)
        assert await server.read() == PIECE
        assert await server.read() == b""
        server.write(b"an answer")
        await server.drain()
        assert await client.read() == b"an answer"
        await said_all(server)
        assert await client.read() == b""
        await asyncio.gather(client.close(), server.close())
        assert [each.failure for each in sessions] == [None, None]
        assert ends.client_channel.closed


async def test_a_message_of_no_bytes_is_no_end(ends: Ends) -> None:
    async with opened(ends) as (session, other):
        server = SessionStream(other)
        await session.send(b"")
        await session.send(b"x")
        assert await server.read() == b"x"


async def test_who_takes_nothing_stops_the_other_and_memory_stays_bounded(ends: Ends) -> None:
    async with opened(ends) as sessions:
        client = SessionStream(sessions[0])
        sent = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while True:
                    client.write(PIECE)
                    await client.drain()
                    sent += len(PIECE)
        # The queue, what is read of the next frame, and what the channel holds.
        assert sent <= LIMITS.queue_bytes + 4 * len(PIECE)


@pytest.mark.parametrize(
    ("lost", "words"), [("connection", "ended without CLOSE"), ("program", "cut off at this end")]
)
async def test_what_is_cut_off_is_no_end_and_comes_after_what_had_arrived(
    ends: Ends, lost: str, words: str
) -> None:
    async with opened(ends) as sessions:
        client, server = map(SessionStream, sessions)
        client.write(PIECE)
        await client.drain()
        if lost == "connection":
            ends.server_channel.truncated = True
            ends.server_channel._notify()
        else:
            client.abort()
        assert await server.read() == PIECE
        with pytest.raises(TruncatedError, match=words):
            await server.read()
        server.write(b"to nobody")
        with pytest.raises(TruncatedError, match=words):
            await server.drain()


async def test_a_peer_that_is_put_out_after_its_close_has_not_ended(ends: Ends) -> None:
    async with opened(ends) as sessions:
        client, server = map(SessionStream, sessions)
        for _ in range(2):
            client.write(PIECE)
        await said_all(client)
        assert await server.read() == PIECE
        await sessions[1].end(ErrorCode.CERTIFICATE_REVOKED, "its certificate is revoked")
        assert sessions[1].put_out.is_set()
        # The second piece was dropped: what was read so far must not look like the whole.
        with pytest.raises(TruncatedError, match="revoked"):
            await server.read()


async def test_the_end_of_what_a_slow_peer_takes_waits_for_it(make_ends: MakeEnds) -> None:
    ends = make_ends(limits=LIMITS)
    async with opened(ends) as sessions:
        sessions[1].allow_stalls()
        client, server = map(SessionStream, sessions)
        await said_all(client)
        assert await server.read() == b""
        server.write(PIECE)
        await said_all(server)
        closing = asyncio.create_task(server.close())
        # Our CLOSE is out, the peer's is in: all that is left is for the peer to take it.
        await asyncio.wait([closing], timeout=0.1)
        assert await client.read() == PIECE
        assert await client.read() == b""
        await asyncio.gather(closing, client.close())
        assert [each.failure for each in sessions] == [None, None]
