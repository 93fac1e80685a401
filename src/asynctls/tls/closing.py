"""How a connection ends, so that the last that we said is heard.

To close a socket while data are still arriving makes the kernel send RST, which destroys what the
peer has not read yet: an alert, or the end of a message. So a close lingers: it ends our direction
and reads on until the peer ends its own, for a while (RFC 5246, section 7.2.1, lets either side
close without waiting; that it should not is TCP's doing, RFC 9293, section 3.10.7.1).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynctls.tls.addresses import network_of
from asynctls.tls.standing_in import StandIn

if TYPE_CHECKING:
    from asynctls.tls.gate import Gate

__all__ = ["LINGER_BYTES", "LINGER_S", "flushed", "hang_up", "linger"]

LINGER_S = 2.0
"""How long a close waits for the peer to end its direction."""

LINGER_BYTES = 1 << 16
"""How much of what still arrives meanwhile is read and discarded."""


async def flushed(writer: asyncio.StreamWriter) -> None:
    """Wait until the kernel has taken all that was written.

    Raises:
        OSError: the connection was lost first.
    """
    if not writer.transport.is_closing():
        # drain() alone returns while up to the low-water mark is still here.
        writer.transport.set_write_buffer_limits(high=0)
    await writer.drain()


async def linger(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: Gate | None
) -> None:
    """End our direction, wait for the peer to end its own, and close; never longer than `LINGER_S`.

    Nobody else may be reading. Cancelled, it closes at once.
    """
    transport = writer.transport
    network = None if gate is None else network_of(writer)
    place = gate is None or gate.closes.take(network)
    limit = asyncio.get_running_loop().call_later(LINGER_S, transport.abort)
    try:
        if transport.get_write_buffer_size():
            await flushed(writer)
        if place and not transport.is_closing():
            writer.write_eof()
            await _Discarding(reader, writer).ended()
    except OSError:
        # The connection is gone already, or was ended here since its time was up.
        pass
    finally:
        limit.cancel()
        if gate is not None and place:
            gate.closes.leave(network)
        await hang_up(writer)


class _Discarding(StandIn):
    """Closes the connection once its peer has ended, or has sent more than `LINGER_BYTES`."""

    __slots__ = ("_ended", "_left")

    async def ended(self) -> None:
        """Wait until the connection is closed; only once."""
        self._left = LINGER_BYTES
        self._ended = asyncio.get_running_loop().create_future()
        for received in self._step_in():
            self.data_received(received)
        await self._ended

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._left -= len(data)
        if self._left <= 0 or not data:
            self._transport.abort()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        # The protocol beneath is told of the loss that follows.
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        if not self._ended.done():
            self._ended.set_result(None)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close now, whatever is still to be sent, and wait until the socket is closed."""
    try:
        writer.transport.abort()
        await writer.wait_closed()
    except OSError:
        # It was lost first, which is closed as well.
        pass
