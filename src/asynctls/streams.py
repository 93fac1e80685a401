"""A mutual-TLS stream to an admitted peer, without frames, used as asyncio's streams are.

For those who have a protocol of their own: whoever reads from an `asyncio.StreamReader` and writes
to a `StreamWriter` can do both on a `PeerStream`. Two things differ, for the better:

- An end is an end only if the peer said so (close_notify, RFC 5246, section 7.2.1). Where asyncio's
  `read` gives what there is, this one raises `TruncatedError`.
- Each direction ends by itself: after `write_eof` reading goes on.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

from asynctls.errors import ErrorCode, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asynctls.admission import Peer
    from asynctls.tls import Stream

__all__ = ["PeerStream"]

_CHUNK_BYTES = 1 << 16
_LONGEST_LINE = 1 << 16


class PeerStream:
    """One connection, its peer admitted; one task reads while others write.

    Args:
        stream: an established connection that nobody else reads from.
        peer: whom its certificate names.

    Attributes:
        peer: name, SANs, serial number, fingerprint and dates of the peer's certificate.
        tls: the connection beneath, for a relay; not once something was read from here.
        cut_off_for: why this end cut the connection off (the peer was revoked, its certificate
            ended); None: it did not.
    """

    def __init__(self, stream: Stream, *, peer: Peer) -> None:
        self.tls = stream
        self.peer = peer
        self.cut_off_for: str | None = None
        self._buffer = bytearray()
        self._peer_ended = False
        self._closing = False
        self._closed = False

    # Reading

    async def read(self, n: int = -1) -> bytes:
        """At least one byte and at most ``n``; ``b""`` at the end that the peer has said.

        Args:
            n: how many at most; negative: all until the end, whatever memory that takes.

        Raises:
            TruncatedError: the connection ended in any other way. What had arrived can be read
                first.
        """
        if n < 0:
            while await self._fill():
                pass
            return self._take(len(self._buffer))
        return await self._receive(n) if n and not self._buffer else self._take(n)

    async def readexactly(self, n: int) -> bytes:
        """``n`` bytes.

        Raises:
            asyncio.IncompleteReadError: the peer ended before that; ``partial`` has the rest.
            TruncatedError: the connection ended in any other way.
            ValueError: ``n`` is negative.
        """
        if n < 0:
            raise ValueError("there are no negative numbers of bytes")
        while len(self._buffer) < n:
            if not await self._fill():
                raise asyncio.IncompleteReadError(self._take(len(self._buffer)), n)
        return self._take(n)

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """What comes up to and with ``separator``.

        Raises:
            asyncio.IncompleteReadError: the peer ended before that; ``partial`` has the rest.
            asyncio.LimitOverrunError: more than 64 KiB came without one; they stay to be read.
            TruncatedError: the connection ended in any other way.
            ValueError: the separator is empty.
        """
        if not separator:
            raise ValueError("the separator has at least one byte")
        searched = 0
        while True:
            at = self._buffer.find(separator, searched)
            length = len(self._buffer) if at < 0 else at
            if length > _LONGEST_LINE:
                raise asyncio.LimitOverrunError(
                    f"there is no separator in the first {_LONGEST_LINE} bytes", length
                )
            if at >= 0:
                return self._take(at + len(separator))
            searched = max(0, length + 1 - len(separator))
            if not await self._fill():
                raise asyncio.IncompleteReadError(self._take(length), None)

    async def readline(self) -> bytes:
        r"""A line with its ``\n``; the last one may have none; ``b""`` at the end.

        Raises:
            asyncio.LimitOverrunError: the line is longer than 64 KiB.
            TruncatedError: the connection ended without the peer's word.
        """
        try:
            return await self.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial

    def at_eof(self) -> bool:
        """Whether all was read, and the peer has said that it was all."""
        return self._peer_ended and not self._buffer

    def __aiter__(self) -> PeerStream:
        """Line by line."""
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def _fill(self) -> bool:
        """Receives more; false at the peer's end."""
        received = await self._receive(_CHUNK_BYTES)
        self._buffer += received
        return bool(received)

    async def _receive(self, n: int) -> bytes:
        if self._peer_ended:
            return b""
        try:
            received = await self.tls.read(n)
        except TruncatedError as error:
            raise self._explained(error) from error
        self._peer_ended = not received
        return received

    def _take(self, n: int) -> bytes:
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken

    # Writing

    def write(self, data: bytes) -> None:
        """Sends; await `drain` between large writes.

        Raises:
            TruncatedError: the connection is closed or lost.
            RuntimeError: after `write_eof`.
        """
        try:
            self.tls.write(data)
        except TruncatedError as error:
            raise self._explained(error) from error

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Sends all of them; raises what `write` does."""
        self.write(b"".join(pieces))

    async def drain(self) -> None:
        """Waits while the peer is slower than we write.

        Raises:
            TruncatedError: the connection is gone; what was sent may not have arrived.
        """
        try:
            await self.tls.drain()
        except TruncatedError as error:
            raise self._explained(error) from error

    def can_write_eof(self) -> bool:
        """Yes: each direction ends by itself."""
        return True

    def write_eof(self) -> None:
        """Says that we have sent all (close_notify); reading goes on."""
        self.tls.write_eof()

    # Ends

    def close(self) -> None:
        """Says that we have sent all and want no more; `wait_closed` closes the connection."""
        if not self._closing:
            self._closing = True
            self.tls.write_eof()

    def is_closing(self) -> bool:
        """Whether `close` was called, or the connection cut off."""
        return self._closing

    async def wait_closed(self) -> None:
        """Waits until the connection is closed: what was sent is on its way, the peer has ended.

        Takes twelve seconds at most; what still arrives is discarded. It calls `close` first if
        need be. Whoever got the stream from a context manager, or serves it, need not call it.
        """
        self._closing = True
        await self.tls.close()
        self._closed = True

    def abort(self) -> None:
        """Closes at once, whatever is under way; the peer sees that it was cut off."""
        self._closing = self._closed = True
        self.tls.abort()

    async def end(self, code: ErrorCode, reason: str) -> None:
        """As `cut_off`; ``code`` is what a session would have told its peer, and nobody is told."""
        del code
        self.cut_off(reason)

    def cut_off(self, reason: str) -> None:
        """Closes at once, since the peer would not be let in any more.

        TLS 1.2 as OpenSSL speaks it has no word to tell that by, once data flow: the peer sees
        that it was cut off, and hears why when it connects again.

        Args:
            reason: what our own side reads in the `TruncatedError`.
        """
        # One that is closing still receives.
        if not self._closed:
            self.cut_off_for = reason
            self.abort()
            self.put_out.set()
            if self.on_put_out is not None:
                self.on_put_out()

    on_put_out: Callable[[], None] | None = None
    """Is called at that moment, for whoever wants no task that waits for it."""

    @cached_property
    def put_out(self) -> asyncio.Event:
        """Is set when this end cuts the connection off, for whoever waits for something else."""
        # Made when it is first asked for: of a thousand idle streams most never are.
        return asyncio.Event()

    def _explained(self, error: TruncatedError) -> TruncatedError:
        if self.cut_off_for is None:
            return error
        return TruncatedError(f"this end cut {self.peer} off: {self.cut_off_for}")

    # Facts

    def get_extra_info(self, name: str, default: object = None) -> object:
        """What asyncio knows of the TCP connection (``peername``, ``sockname``, ``socket``).

        Args:
            name: which; what there is of TLS is in ``peer`` and ``tls``.
            default: for what there is not.
        """
        return self.tls.get_extra_info(name, default)

    def __repr__(self) -> str:
        return f"<PeerStream with {self.peer} at {self.tls.peer_address}>"
