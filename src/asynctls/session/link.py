"""Moves bytes between a session's pure protocol object and the TLS connection below it.

Every way in which the connection can be lost becomes the session's own end here, so that nobody
above meets an OSError; and what goes out is counted, by type of frame and in TLS records.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Final

from asynctls.errors import AsynctlsError, SessionError
from asynctls.session.states import FrameType, Role

if TYPE_CHECKING:
    from asynctls.session.channel import Channel
    from asynctls.session.protocol import Protocol

__all__ = ["MAX_RECORDS", "Link"]

MAX_RECORDS: Final = 1 << 24
"""AES-GCM's bound for one key: TLS records in a direction (RFC 8446, section 5.5)."""

_READ_BYTES: Final = 64 * 1024
_RECORD_BYTES: Final = 16 * 1024


class Link:
    """The one place that reads from and writes to the channel."""

    def __init__(self, protocol: Protocol, channel: Channel) -> None:
        self._protocol = protocol
        self._channel = channel
        self._records_sent = 0
        self._bytes_received = 0
        self._told_goaway = False
        self.sent_bytes = dict.fromkeys(FrameType, 0)

    def flush(self) -> None:
        """Hands all frames that are due to the channel; never waits."""
        for frame_type, frame in self._protocol.frames_to_send():
            try:
                self.sent_bytes[frame_type] += self._channel.write(frame)
            except (OSError, AsynctlsError) as error:
                self._lose(error)
                return
            self._records_sent += -(-len(frame) // _RECORD_BYTES)
        # Here as well: an end that only sends receives nothing that would make it look.
        self.mind_records()

    async def drain(self) -> None:
        """Waits while the peer is slower than we write.

        Raises:
            SessionError: the session has ended meanwhile.
        """
        try:
            await self._channel.drain()
        except (OSError, AsynctlsError) as error:
            self._lose(error)
        self.raise_failure()

    async def read(self) -> None:
        """Takes in what comes next.

        Raises:
            SessionError: the connection ended before the session did.
        """
        try:
            received = await self._channel.read(_READ_BYTES)
        except (OSError, AsynctlsError) as error:
            self._lose(error)
            self.raise_failure()
            return
        if received:
            self._bytes_received += len(received)
            self._protocol.receive_data(received)
        else:
            self._protocol.receive_eof()

    def raise_failure(self) -> None:
        """Raises what the session ended by, if it did."""
        if self._protocol.failure is not None:
            raise self._protocol.failure

    def mind_records(self) -> None:
        """Says GOAWAY, once and as a server, when a direction's records reach their bound."""
        if self._told_goaway or max(self._records_sent, self._records_received()) < MAX_RECORDS:
            return
        self._told_goaway = True
        if self._protocol.role is Role.SERVER and self._protocol.failure is None:
            self._protocol.send_goaway()
            self.flush()

    def _records_received(self) -> int:
        # Records cannot be seen from here: every frame is one at the least, every 16 KiB are.
        return self._protocol.frames_received + self._bytes_received // _RECORD_BYTES

    def _lose(self, error: Exception) -> None:
        try:
            self._protocol.receive_eof(_by_what(error))
        except SessionError as failure:
            if failure.__cause__ is None:
                failure.__cause__ = error

    async def all_taken(self) -> None:
        """Waits until the kernel has taken all that was sent, however slow the peer is."""
        with contextlib.suppress(OSError, AsynctlsError):
            await self._channel.flush()

    async def shut(self, timeout_s: float) -> None:
        """Ends the connection: with close_notify, or, where that takes too long, at once."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._channel.close()
        except (OSError, AsynctlsError):
            self._channel.abort()


def _by_what(error: BaseException | None) -> str:
    """What the system said, if it was the system that lost the connection."""
    while error is not None:
        # OpenSSL's errors are OSErrors too, in words that are for nobody who reads a log.
        if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.strerror:
            return error.strerror
        error = error.__cause__
    return ""
