"""A session as a stream of bytes, for a tunnel: each piece is a message, CLOSE is the end.

So every piece has its MAC and its number, and what is cut off cannot look like an end: that is
an authenticated CLOSE and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from asynctls.errors import SessionError, TruncatedError
from asynctls.session.shape import MAX_PAYLOAD

if TYPE_CHECKING:
    from asynctls.session.channel import Limits
    from asynctls.session.session import Session

__all__ = ["SessionStream", "stream_limits"]

_CUT_OFF: Final = "the tunnel was cut off at this end"


def stream_limits(limits: Limits) -> Limits:
    """The same for a session that is a stream: a piece fits one frame, and little waits."""
    return replace(limits, max_message_bytes=MAX_PAYLOAD, queue_bytes=4 * MAX_PAYLOAD)


class SessionStream:
    """What a relay asks of a stream (`tls.relay.Duplex`), over an open session.

    Args:
        session: made with `stream_limits`, and nobody else's; whoever opened it leaves it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._unsent: list[bytes] = []
        self._ending = False

    async def read(self, n: int = MAX_PAYLOAD, /) -> bytes:
        """The next piece, whole; ``b""`` at the peer's CLOSE.

        Args:
            n: what the caller has room for; no message is larger than `MAX_PAYLOAD`.

        Raises:
            TruncatedError: the session has ended in any other way.
        """
        del n
        try:
            async for message in self._session:
                if message:
                    return message
        except SessionError as error:
            raise TruncatedError(str(error)) from error
        return b""

    def write(self, data: bytes) -> None:
        """Takes a piece of `MAX_PAYLOAD` bytes at most; `drain` sends it."""
        self._unsent.append(data)

    async def drain(self) -> None:
        """Sends what was written, as fast as the peer takes it.

        Raises:
            TruncatedError: the session has ended; what was sent may not have arrived.
        """
        try:
            while self._unsent:
                await self._session.send(self._unsent.pop(0))
        except SessionError as error:
            raise TruncatedError(str(error)) from error

    def write_eof(self) -> None:
        """After what was written comes our CLOSE, with the next `flush`."""
        self._ending = True

    async def flush(self) -> None:
        """As `drain`, and says CLOSE if all was written.

        Raises:
            TruncatedError: the session has ended.
        """
        await self.drain()
        if self._ending:
            await self._session.finish_sending()

    async def close(self) -> None:
        """Ends both directions; a peer that is slow has its time for what was sent."""
        # Where both have ended this says nothing; else nobody is left to take what still comes.
        self.abort()
        await self._session.wait_closed()

    def abort(self) -> None:
        """Ends the session at once, and tells the peer that it is no end."""
        self._session.abort(_CUT_OFF)
