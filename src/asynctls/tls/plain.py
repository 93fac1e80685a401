"""A TCP or UNIX connection without TLS, with the ends of a TLS stream, for a relay.

TCP has one word for 'I have sent all', FIN, and programs send it when they die as well. So that is
a clean end here; all that can be told apart is a reset (RFC 9293, section 3.10.7.4), and a stream
whose other half was cut off ends its connection by one, lest it look like a clean end.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING

from asynctls.errors import TruncatedError
from asynctls.tls.closing import flushed, hang_up
from asynctls.tls.liveness import KEEPALIVE_S, watch_for_death
from asynctls.tls.pouring import Pourable

if TYPE_CHECKING:
    import asyncio

__all__ = ["PlainStream"]

_CHUNK_BYTES = 1 << 16
# struct linger: on, for no time, so that close() sends RST and forgets what is unsent.
_AT_ONCE = struct.pack("ii", 1, 0)


class PlainStream(Pourable):
    """A connection without TLS; one task reads while another writes.

    Args:
        reader: of `asyncio.open_connection` or `open_unix_connection`, or of their servers.
        writer: likewise.
        keepalive_s: how long the program may be silent to TCP before it counts as dead.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        watch_for_death(writer, keepalive_s=keepalive_s, stalls=True)

    @property
    def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Reader and writer, for `pouring`."""
        return self._reader, self._writer

    def arrived(self, received: memoryview) -> tuple[memoryview, None]:
        """What arrived is what was sent (`pouring.Pourable`)."""
        return received, None

    async def read(self, n: int = _CHUNK_BYTES) -> bytes:
        """At least one byte and at most `n`; `b""` when the peer has sent all.

        Raises:
            TruncatedError: the connection was reset.
        """
        try:
            return await self._reader.read(n)
        except OSError as error:
            raise _lost(error) from error

    def write(self, data: bytes | memoryview) -> None:
        """Send. Await `drain` between large writes.

        Raises:
            TruncatedError: the connection is closed or lost.
        """
        if self._transport.is_closing():
            raise TruncatedError("the connection is closed: nothing more can be sent")
        self._transport.write(bytes(data))

    async def drain(self) -> None:
        """Wait while the peer is slower than we write.

        Raises:
            TruncatedError: the connection is gone; what was sent may not have arrived.
        """
        try:
            await self._writer.drain()
        except OSError as error:
            raise _lost(error) from error

    async def flush(self) -> None:
        """Wait until the kernel has taken all that was written, however long; for the end.

        Raises:
            TruncatedError: the connection is gone; what was sent may not have arrived.
        """
        try:
            await flushed(self._writer)
        except OSError as error:
            raise _lost(error) from error

    def write_eof(self) -> None:
        """Say that we have sent all (FIN); reading goes on."""
        # A peer that is gone already need not be told.
        with contextlib.suppress(OSError):
            if not self._writer.transport.is_closing():
                self._writer.write_eof()

    async def close(self) -> None:
        """End both directions, after `flush`: what the kernel has is still sent."""
        await hang_up(self._writer)

    def abort(self) -> None:
        """Close at once; the peer sees a reset (on a UNIX socket there is none)."""
        if not self._writer.transport.is_closing():
            connection = self._writer.get_extra_info("socket")
            if connection.family != socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._writer.transport.abort()


def _lost(error: OSError) -> TruncatedError:
    return TruncatedError(
        f"the connection without TLS was lost ({error.strerror or error}): what went through may "
        "not be all that was sent"
    )
