"""A member that speaks the session protocol without its rules, with frames put together by hand.

What it can do is what anybody could who has got hold of a session's keys, or of its plaintext.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asynctls.errors import HandshakeError, SessionError
from asynctls.mac import Secret
from asynctls.probe.attack import PATIENCE_S
from asynctls.session.frames import Frame, Ready
from asynctls.session.keys import binding, derive
from asynctls.session.opener import Opener
from asynctls.session.sealer import Sealer
from asynctls.session.states import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asynctls.session import Channel

__all__ = ["Insider", "inside"]

_MOST_BYTES = 1 << 20


class Insider:
    """A client that seals frames and sends them as it likes.

    Args:
        channel: a connection whose handshake is done; whoever made it closes it.
        certificate: the one that we showed, DER.
        secret: the session's; None: a new one.
        patience_s: how long an answer is awaited, in seconds.

    Attributes:
        seal: makes the next frame, which need not be sent.
        sent: what was sent, in clear.
        received: what was answered, likewise, frame by frame.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        certificate: bytes,
        secret: Secret | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        if channel.peer_certificate is None or channel.tls_unique is None:
            raise HandshakeError("no session with a server without a certificate or tls-unique")
        self._secret = secret or Secret.random()
        seen = binding(
            client_certificate=certificate,
            server_certificate=channel.peer_certificate,
            tls_unique=channel.tls_unique,
        )
        keys = derive(self._secret, seen)
        self.seal = Sealer(Role.CLIENT, keys.client)
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self._arrived = b""
        self._channel = channel
        self._patience_s = patience_s
        self._opener = Opener(Role.SERVER, keys.server)

    async def send_key(self) -> None:
        """Send KEY, which READY should answer."""
        await self.send(self.seal.key(self._secret, max_message_bytes=_MOST_BYTES))

    async def open(self) -> None:
        """Open the session.

        Raises:
            HandshakeError: KEY was not answered by READY.
            TruncatedError: as for `answer`.
            TimeoutError: likewise.
        """
        await self.send_key()
        if not isinstance(answer := await self.answer(), Ready):
            raise HandshakeError(f"KEY was answered by {answer or 'nothing'}, and not by READY")

    async def send(self, *frames: bytes) -> None:
        """Put frames on the wire, whatever they are."""
        for frame in frames:
            self.sent.append(frame)
            self._channel.write(frame)
        await self._channel.drain()

    async def answer(self) -> Frame | None:
        """The server's next frame; None when it says no more.

        Raises:
            TruncatedError: the connection ended without close_notify, or by an alert.
            TimeoutError: nothing came.
        """
        async with asyncio.timeout(self._patience_s):
            try:
                while (frame := self._opener.next_frame()) is None:
                    piece = await self._channel.read(1 << 16)
                    if not piece:
                        return None
                    self._arrived += piece
                    self._opener.receive_data(piece)
            except SessionError:
                # It came all the same, whatever it is.
                self.received.append(self._arrived)
                raise
        end = len(self._arrived) - self._opener.buffered_bytes
        self.received.append(self._arrived[:end])
        self._arrived = self._arrived[end:]
        return frame

    async def last_answer(self) -> Frame | None:
        """The last frame before the server says no more."""
        last = None
        while (frame := await self.answer()) is not None:
            last = frame
        return last


@asynccontextmanager
async def inside(
    channel: Channel,
    *,
    certificate: bytes,
    secret: Secret | None = None,
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[Insider]:
    """A session that stands, opened by hand: KEY was sent and READY has come.

    Args:
        channel: closed at the end.
        certificate: as for `Insider`.
        secret: likewise.
        patience_s: likewise.

    Raises:
        HandshakeError: as `Insider.open`.
        TruncatedError: likewise.
        TimeoutError: likewise.
    """
    try:
        insider = Insider(channel, certificate=certificate, secret=secret, patience_s=patience_s)
        await insider.open()
        yield insider
    finally:
        await channel.close()
