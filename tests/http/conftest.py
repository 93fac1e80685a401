"""A server of this room on a loopback socket, and the raw end of a connection to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from asynctls.http.server import Handler, Limits, serve


class Plain:
    """A plain TCP connection with the face of a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.ended = asyncio.Event()

    async def read(self, n: int, /) -> bytes:
        return await self.reader.read(n)

    def write(self, data: bytes, /) -> None:
        self.writer.write(data)

    async def drain(self) -> None:
        await self.writer.drain()

    def abort(self) -> None:
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    async def ask(self, *pieces: bytes) -> bytes:
        """Sends all pieces and returns all that comes back until the other side closes."""
        for piece in pieces:
            self.write(piece)
            await self.drain()
        return await self.reader.read()


Served = Callable[..., AbstractAsyncContextManager[Plain]]
Answer = Callable[[Plain], Awaitable[None]]


@asynccontextmanager
async def connection_to(answer: Answer) -> AsyncIterator[Plain]:
    """A connection whose other end is handed to ``answer``."""
    tasks: list[asyncio.Task[None]] = []

    async def serve_one(plain: Plain) -> None:
        try:
            await answer(plain)
        finally:
            plain.writer.close()
            here.ended.set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.ensure_future(serve_one(Plain(reader, writer))))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()[:2]
    here = Plain(*await asyncio.open_connection(host, port))
    try:
        yield here
    finally:
        here.writer.close()
        await asyncio.gather(*tasks)
        listener.close()
        await listener.wait_closed()


@pytest.fixture
def served() -> Served:
    """``async with served(handler, limits=…, stopping=…) as connection``."""

    def start(
        handler: Handler, *, limits: Limits | None = None, stopping: asyncio.Event | None = None
    ) -> AbstractAsyncContextManager[Plain]:
        async def answer(plain: Plain) -> None:
            await serve(
                plain, handler, limits=limits or Limits(), stopping=stopping or asyncio.Event()
            )

        return connection_to(answer)

    return start


@pytest.fixture
def answered() -> Callable[[Answer], AbstractAsyncContextManager[Plain]]:
    """``async with answered(coroutine function of the other end) as connection``."""
    return connection_to
