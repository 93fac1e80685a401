"""A TCP balancer, as simple as they come: each connection to the next backend that answers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from itertools import cycle, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asynctls.config import Address

__all__ = ["balancing"]


@asynccontextmanager
async def balancing(*backends: Address) -> AsyncIterator[int]:
    """A port on the loopback whose connections go to the backends in turn."""
    turns = cycle(backends)
    relaying: set[asyncio.Task[None]] = set()

    async def connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for backend in islice(turns, len(backends)):
            with suppress(OSError):
                return await asyncio.open_connection(backend.host, backend.port)
        return None

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend = await connected()
        writers = [writer] if backend is None else [writer, backend[1]]
        try:
            if backend is not None:
                await asyncio.gather(_copy(reader, backend[1]), _copy(backend[0], writer))
        finally:
            for each in writers:
                each.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(relay(reader, writer))
        relaying.add(task)
        task.add_done_callback(relaying.discard)

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield int(server.sockets[0].getsockname()[1])
        for task in relaying:
            task.cancel()
        await asyncio.gather(*relaying, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction to its end; a backend that was killed ends it as well."""
    # RuntimeError: uvloop's word for a transport that was closed by the other direction.
    with suppress(OSError, RuntimeError):
        while some := await reader.read(1 << 16):
            writer.write(some)
            await writer.drain()
        writer.write_eof()
