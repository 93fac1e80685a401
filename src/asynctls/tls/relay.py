"""Two streams into one another, until both have said all: the middle of a tunnel.

Each direction ends by itself. What ends one, a close_notify (RFC 5246, section 7.2.1) or a FIN, is
passed on as the other stream's own word for it, while the other direction goes on. What is cut off
is never passed on as an end: then both streams are aborted, so that nobody takes a part for the
whole. There is no other limit: to time, to silence, or to bytes.

Memory is bounded, since nothing more is read from one stream while the other one takes nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from asynctls.errors import TruncatedError
from asynctls.tls.closing import LINGER_S
from asynctls.tls.pouring import Pourable, pour

__all__ = ["Duplex", "Relay"]

_CHUNK_BYTES = 1 << 16


class Duplex(Protocol):
    """What a relay asks of a stream; `tls.Stream` and `tls.PlainStream` are such.

    All but `close` and `abort` raise TruncatedError when the connection is lost.
    """

    async def read(self, n: int, /) -> bytes:
        """At most `n` bytes; `b""` at the end that the peer has said."""

    def write(self, data: bytes, /) -> object:
        """Send."""

    async def drain(self) -> None:
        """Wait while the peer is slower than we write."""

    async def flush(self) -> None:
        """Wait until the kernel has taken all."""

    def write_eof(self) -> None:
        """Say that we have sent all."""

    async def close(self) -> None:
        """End both directions in good order."""

    def abort(self) -> None:
        """Close at once; the peer sees that it was cut off."""


class Relay:
    """Carries what comes from either stream to the other.

    Args:
        one: a stream that nobody else uses.
        other: likewise.
    """

    def __init__(self, one: Duplex, other: Duplex) -> None:
        self._one = one
        self._other = other
        self._carried: dict[Duplex, int] = {one: 0, other: 0}
        self._ended: set[Duplex] = set()

    @property
    def from_one(self) -> int:
        """Bytes that `one` sent and `other` was given."""
        return self._carried[self._one]

    @property
    def from_other(self) -> int:
        """Bytes that `other` sent and `one` was given."""
        return self._carried[self._other]

    async def run(self) -> None:
        """Carries on until both directions have ended; both streams are closed then.

        Cancelled, it aborts both.

        Raises:
            TruncatedError: one of the two connections was lost; the other was aborted, once what
                had arrived for it was on its way.
        """
        failures: list[Exception] = []
        try:
            try:
                async with asyncio.TaskGroup() as directions:
                    directions.create_task(self._carry(self._other, self._one))
                    await self._carry(self._one, self._other)
            except* TruncatedError as group:
                failures.extend(group.exceptions)
            # One after the other: what has ended or is lost has hardly anything to wait for, and a
            # task costs more than that.
            for stream in (self._other, self._one):
                await self._end(stream)
        except BaseException:
            for stream in (self._one, self._other):
                stream.abort()
            raise
        if failures:
            raise failures[0]

    async def _carry(self, source: Duplex, sink: Duplex) -> None:
        def carried(octets: int) -> None:
            self._carried[source] += octets

        while True:
            if isinstance(source, Pourable) and isinstance(sink, Pourable):
                await pour(source, sink, carried)
            piece = await source.read(_CHUNK_BYTES)
            if not piece:
                break
            sink.write(piece)
            await sink.drain()
            carried(len(piece))
        await self._pass_end_on(sink)

    async def _pass_end_on(self, stream: Duplex) -> None:
        # However slow the peer is: a close gives up after a while what is not in the kernel yet.
        await stream.flush()
        stream.write_eof()
        self._ended.add(stream)
        # The data are on their way. Many programs close at once when they have said and heard all
        # that they want, so that there may be nobody left to hear this.
        with suppress(TruncatedError):
            await stream.flush()

    async def _end(self, stream: Duplex) -> None:
        if stream in self._ended:
            # It has had all that it was to have, even if the other direction failed.
            await stream.close()
            return
        with suppress(TruncatedError, TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await stream.flush()
        stream.abort()
