"""A server of a test's own, of which nothing is left when it ends."""

from __future__ import annotations

import asyncio
import errno
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeAlias

import pytest

from asynctls.config import Address

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["Handler", "listening", "passing_on"]

Handler: TypeAlias = "Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]"
"""Serves one connection, which is closed behind it."""


@asynccontextmanager
async def listening(
    handle: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[Address]:
    """Its address; at the end its connections are closed, and whoever serves one is cancelled.

    A writer that is still open when the loop has been closed warns as it is collected, which fails
    whichever test runs then.
    """
    serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await handle(reader, writer)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving[asyncio.create_task(serve(reader, writer))] = writer

    try:
        listener = await asyncio.start_server(accept, host, port, ssl=context)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            pytest.skip(f"this machine has no address {host}")
        raise
    try:
        yield Address(host, listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
        # A connection that was taken is handed over two turns of the loop later.
        for _ in range(3):
            await asyncio.sleep(0)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for task, writer in serving.items():
            # Of one that was cancelled before it began.
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
            if not task.cancelled():
                task.result()


@asynccontextmanager
async def passing_on(
    to: Address, cut: Callable[[], bool], *, host: str = "127.0.0.1"
) -> AsyncIterator[Address]:
    """Forwards bytes; what comes from there is dropped with the connection, once it is ``cut``."""

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        # RuntimeError: uvloop's word for a transport that the other direction has closed.
        with suppress(OSError, RuntimeError):
            while chunk := await reader.read(65536):
                if answers and cut():
                    break
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(to.host, to.port)
        try:
            await asyncio.gather(
                pump(reader, there_writer, answers=False),
                pump(there_reader, writer, answers=True),
            )
        finally:
            there_writer.close()

    async with listening(pass_on, host) as address:
        yield address
