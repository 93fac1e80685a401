"""Moves bytes between a session's pure protocol object and the TLS connection below it.

Every way in which the connection can be lost becomes the session's own end here, so that nobody
above meets an OSError; and what goes out is counted, by type of frame and in TLS records. Frames
that are made in one turn of the event loop go out together, in as few records as hold them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Final

from asynctls.errors import AsynctlsError, SessionError
from asynctls.session.shape import HEAD_MOST, TRAILER_BYTES
from asynctls.session.states import FrameType, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.session.channel import Channel
    from asynctls.session.protocol import Protocol

__all__ = ["MAX_RECORDS", "Link"]

MAX_RECORDS: Final = 1 << 24
"""AES-GCM's bound for one key: TLS records in a direction (RFC 8446, section 5.5)."""

_RECORD_BYTES: Final = 16 * 1024
# A frame of 64 KiB is five records.
_READ_BYTES: Final = 5 * _RECORD_BYTES
# So much is sent in one turn before others have theirs, and kept back before it goes out.
_TURN_BYTES: Final = 32 * 1024
_FRAME_BYTES: Final = HEAD_MOST + TRAILER_BYTES


class Link:
    """The one place that reads from and writes to the channel.

    Attributes:
        full: it is time to `drain` before more is sent.
        sent_bytes: TLS bytes, by the type of frame that they carried.
    """

    def __init__(self, protocol: Protocol, channel: Channel) -> None:
        self._protocol = protocol
        self._channel = channel
        self._readable: Callable[[], None] = _nobody_reads
        self._turn_ends = False
        self._bytes_this_turn = 0
        self.full = False
        self._records_sent = 0
        self._records_received = 0
        self._told_goaway = False
        self.sent_bytes = dict.fromkeys(FrameType, 0)

    # Out

    def flush(self) -> None:
        """Hands all frames that are due to the channel; never waits."""
        due = self._protocol.frames_to_send()
        if not due:
            return
        together = due[0][1] if len(due) == 1 else b"".join([frame for _, frame in due])
        try:
            produced = self._channel.write(together)
        except (OSError, AsynctlsError) as error:
            self._lose(error)
            return
        # What TLS adds counts with the first frame, as in `asynctls costs`.
        sent_bytes = self.sent_bytes
        sent_bytes[due[0][0]] += produced - len(together)
        for frame_type, frame in due:
            sent_bytes[frame_type] += len(frame)
        self._records_sent += -(-len(together) // _RECORD_BYTES)
        # Here as well: an end that only sends receives nothing that would make it look.
        if self._records_sent >= MAX_RECORDS:
            self._mind_records()

    def flush_soon(self) -> None:
        """Hands what is due by then to the channel when this turn of the event loop ends."""
        if not self._turn_ends:
            self._turn_ends = True
            asyncio.get_running_loop().call_soon(self._end_turn)

    def add(self, size: int) -> None:
        """A message of ``size`` bytes is due: it goes out with what else is made in this turn."""
        self._bytes_this_turn += _FRAME_BYTES + size
        if self._bytes_this_turn >= _TURN_BYTES:
            self.flush()
            self.full = True
        elif not self._turn_ends:
            self.flush_soon()

    async def drain(self) -> None:
        """Sends what is due and waits while the peer is slower; others have a turn in any case.

        Raises:
            SessionError: the session has ended meanwhile.
        """
        self.flush()
        try:
            if self._channel.congested:
                await self._channel.drain()
            else:
                await asyncio.sleep(0)
        except (OSError, AsynctlsError) as error:
            self._lose(error)
        self._bytes_this_turn = 0
        self.full = False
        self.raise_failure()

    def _end_turn(self) -> None:
        self._turn_ends = False
        self._bytes_this_turn = 0
        self.flush()
        self.full = self._channel.congested
        if self._protocol.failure is not None:
            # Nobody awaits what was just tried: whoever reads has to be told.
            self._readable()

    # In

    def deliver(self, readable: Callable[[], None]) -> None:
        """Has ``readable`` called whenever there may be something for `read_now`.

        Raises:
            SessionError: the connection ended before the session did.
        """
        self._readable = readable
        try:
            self._channel.deliver(readable)
        except (OSError, AsynctlsError) as error:
            self._lose(error)
            self.raise_failure()

    def deliver_no_more(self) -> None:
        """Nobody reads any longer."""
        self._readable = _nobody_reads

    def read_now(self) -> bool:
        """Takes in what has come, of a few TLS records; false: no more has.

        Raises:
            SessionError: the connection ended before the session did.
        """
        try:
            received, more = self._channel.read_now(_READ_BYTES)
        except (OSError, AsynctlsError) as error:
            self._lose(error)
            self.raise_failure()
            return False
        if received is None:
            return False
        self._take_in(received)
        return more and bool(received)

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
        self._take_in(received)

    def _take_in(self, received: bytes) -> None:
        if received:
            # A read gives full records, and one that may be shorter.
            self._records_received += -(-len(received) // _RECORD_BYTES)
            self._protocol.receive_data(received)
            if self._records_received >= MAX_RECORDS:
                self._mind_records()
        else:
            self._protocol.receive_eof()

    def raise_failure(self) -> None:
        """Raises what the session ended by, if it did."""
        if self._protocol.failure is not None:
            raise self._protocol.failure

    def _mind_records(self) -> None:
        """A direction's records have reached their bound: a server says GOAWAY, once."""
        if self._told_goaway:
            return
        self._told_goaway = True
        if self._protocol.role is Role.SERVER and self._protocol.failure is None:
            self._protocol.send_goaway()
            self.flush()

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


def _nobody_reads() -> None:
    pass


def _by_what(error: BaseException | None) -> str:
    """What the system said, if it was the system that lost the connection."""
    while error is not None:
        # OpenSSL's errors are OSErrors too, in words that are for nobody who reads a log.
        if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.strerror:
            return error.strerror
        error = error.__cause__
    return ""
