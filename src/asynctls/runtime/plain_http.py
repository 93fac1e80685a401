"""A listener for plain HTTP beside a daemon's own: what may be read by anybody who gets there."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asynctls.http.server import Handler, Limits, serve
from asynctls.runtime.connections import Connections
from asynctls.runtime.unix_listening import UnixListener, listen_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asynctls.config import Address
    from asynctls.runtime.listening import Listener
    from asynctls.runtime.observing import Observer
    from asynctls.runtime.places import Places

__all__ = ["serve_plain_http"]


class _Plain:
    """A TCP connection with the face that HTTP wants (``http.messages.Stream``)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, n: int, /) -> bytes:
        return await self._reader.read(n)

    def write(self, data: bytes, /) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    def abort(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def serve_plain_http(
    where: Address | Path,
    answer: Handler,
    *,
    role: str,
    setting: str,
    event: str,
    limits: Limits,
    places: Places,
    observer: Observer | None = None,
) -> AsyncIterator[Listener | UnixListener]:
    """Serves HTTP without TLS while the context lasts; leaving it cuts off what is under way.

    Args:
        where: a TCP address (port 0 lets the system choose one), or a UNIX socket's path.
        answer: answers each request.
        role: for the log, and the table of the config that a fault names.
        setting: the key in that table that ``address`` stands under.
        event: how the log says that it listens, with the address as it really is.
        limits: what one connection may cost.
        places: for connections; those that find none are closed.
        observer: is told of those.

    Raises:
        ConfigError: for the key ``<role>.<setting>`` when it cannot be listened on.
    """
    stopping = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(_Plain(reader, writer), answer, limits=limits, stopping=stopping)

    async with (
        Connections(observer=observer) as connections,
        listen_at(
            where,
            connections.served_by(handle, places=places),
            role=role,
            setting=setting,
            event=event,
        ) as listener,
    ):
        yield listener
