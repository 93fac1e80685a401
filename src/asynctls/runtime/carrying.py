"""One half of a tunnel: an admitted peer's stream or session and a connection without TLS.

Behind a tunnel a program may well take nothing for an hour, and is not dead. A relay that waits for
the program alone would not notice that the peer was put out, and keep its connection open.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynctls.errors import TruncatedError
from asynctls.runtime.unless import unless
from asynctls.session import SessionStream
from asynctls.tls import PlainStream, Relay

if TYPE_CHECKING:
    from asynctls.session import Session
    from asynctls.streams import PeerStream

__all__ = ["carry", "carry_session"]


async def carry(stream: PeerStream, plain: PlainStream) -> None:
    """Carries both ways until both have ended, or the peer is put out.

    Args:
        stream: the peer's.
        plain: the program's.

    Raises:
        TruncatedError: one of the two connections was lost, or the stream cut off; the other one
            was aborted.
    """
    stream.tls.allow_stalls()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as carrying:
            # A task that waits for this would cost as much as the relay.
            stream.on_put_out = lambda: carrying.reschedule(loop.time())
            await Relay(stream.tls, plain).run()
    except (TimeoutError, TruncatedError):
        if stream.cut_off_for is None:
            raise
    finally:
        stream.on_put_out = None
    if stream.cut_off_for is not None:
        raise TruncatedError(f"this end cut {stream.peer} off: {stream.cut_off_for}")


async def carry_session(session: Session, plain: PlainStream) -> None:
    """As `carry`, in a session with the peer.

    Args:
        session: open, with `stream_limits`.
        plain: the program's.

    Raises:
        TruncatedError: the session was lost or ended, or the program's connection was lost; the
            other one was aborted.
    """
    session.allow_stalls()
    await unless(session.put_out, Relay(SessionStream(session), plain).run())
    if session.put_out.is_set():
        raise TruncatedError(session.end_reason)
