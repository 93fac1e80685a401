"""The server's own frames repeated, left out or exchanged on their way to our client.

They are genuine: whoever alters them has got between TLS and the session at our end, or broken TLS.
Our client's half of the session is the roles' own (`Protocol`), and has to find it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from asynctls.errors import (
    HandshakeError,
    MissingError,
    ReplayedError,
    SessionError,
    TruncatedError,
)
from asynctls.probe.answers import explained
from asynctls.probe.attack import PATIENCE_S, Verdict
from asynctls.probe.clients import honest
from asynctls.session.keys import binding
from asynctls.session.protocol import Opened, Protocol
from asynctls.session.shape import TRAILER_BYTES, read_head
from asynctls.session.states import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynctls.probe.attack import Target
    from asynctls.tls import Stream

__all__ = ["altered", "exchanged", "first_left_out", "first_twice"]

_UNPROMPTED_S = 1.0
_MOST_BYTES = 1 << 20

_Alter = Callable[[bytes, bytes], "Sequence[bytes]"]


def first_twice(first: bytes, second: bytes) -> Sequence[bytes]:
    """A frame, and the same again."""
    return first, first, second


def first_left_out(_first: bytes, second: bytes) -> Sequence[bytes]:
    """The second without the first."""
    return (second,)


def exchanged(first: bytes, second: bytes) -> Sequence[bytes]:
    """The second before the first."""
    return second, first


async def altered(alter: _Alter, target: Target) -> tuple[Verdict, str]:
    """Opens a session, and gives our client the two frames after READY as ``alter`` has them."""
    client = await honest(target)
    stream = await client.connect(target.address)
    try:
        return await _altered(alter, stream, client.certificate)
    finally:
        stream.abort()


async def _altered(alter: _Alter, stream: Stream, certificate: bytes) -> tuple[Verdict, str]:
    ours = _our_client(stream, certificate)
    ((_, key),) = ours.frames_to_send()
    arriving = _Arriving(stream)
    stream.write(key)
    await stream.drain()
    ours.receive_data(await arriving.frame(PATIENCE_S) or b"")
    if not isinstance(ours.next_event(), Opened):
        raise HandshakeError("KEY was not answered by READY")
    first = await arriving.frame(_UNPROMPTED_S)
    if first is None:
        return Verdict.NOT_TRIED, "it takes an app that says something by itself"
    # What may not be said twice: the server has an ERROR to say, if nothing else.
    stream.write(key)
    await stream.drain()
    second = await arriving.frame(PATIENCE_S)
    if second is None:
        return Verdict.NOT_TRIED, "it takes an app that lets the session be: there was one frame"
    try:
        for frame in alter(first, second):
            ours.receive_data(frame)
            while ours.next_event() is not None:
                pass
    except (ReplayedError, MissingError) as error:
        return Verdict.WITHSTOOD, explained(error)
    except SessionError as error:
        return Verdict.NOT_WITHSTOOD, f"our client had no objection before this: {error}"
    return Verdict.NOT_WITHSTOOD, "our client had no objection"


def _our_client(stream: Stream, certificate: bytes) -> Protocol:
    if stream.peer_certificate is None or stream.tls_unique is None:
        raise HandshakeError("no session with a server without a certificate or tls-unique")
    seen = binding(
        client_certificate=certificate,
        server_certificate=stream.peer_certificate,
        tls_unique=stream.tls_unique,
    )
    return Protocol(Role.CLIENT, seen, max_message_bytes=_MOST_BYTES)


class _Arriving:
    """The frames that come over a connection, whole and not verified."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._arrived = b""

    async def frame(self, patience_s: float) -> bytes | None:
        """The next one; None: it does not come, in time or at all."""
        try:
            async with asyncio.timeout(patience_s):
                while (end := self._end()) is None:
                    piece = await self._stream.read(1 << 16)
                    if not piece:
                        return None
                    self._arrived += piece
        except (TimeoutError, TruncatedError):
            return None
        frame, self._arrived = self._arrived[:end], self._arrived[end:]
        return frame

    def _end(self) -> int | None:
        head = read_head(self._arrived)
        if head is None:
            return None
        _, _, payload_at, length = head
        end = payload_at + length + TRAILER_BYTES
        return end if end <= len(self._arrived) else None
