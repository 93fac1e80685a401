"""One half of a tunnel: an admitted peer's stream and a connection without TLS, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.errors import TruncatedError
from asynctls.runtime.unless import unless
from asynctls.tls import PlainStream, Relay

if TYPE_CHECKING:
    from asynctls.streams import PeerStream

__all__ = ["carry"]


async def carry(stream: PeerStream, plain: PlainStream) -> None:
    """Carries both ways until both have ended, or the peer is put out.

    Args:
        stream: the peer's. Behind a tunnel a program may well take nothing for an hour, and is not
            dead.
        plain: the program's.

    Raises:
        TruncatedError: one of the two connections was lost, or the stream cut off; the other one
            was aborted.
    """
    stream.tls.allow_stalls()
    # A relay that waits for the program alone would not notice, and keep its connection open.
    await unless(stream.put_out, Relay(stream.tls, plain).run())
    if stream.cut_off_for is not None:
        raise TruncatedError(f"this end cut {stream.peer} off: {stream.cut_off_for}")
