"""A client of plain mutual TLS: a stream to one server, for a program or a tunnel."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asynctls.admission import LiveAfterExpiry
from asynctls.client.connecting import connected
from asynctls.enrolment.standing import expiry_of, standing_watched
from asynctls.errors import SessionTruncatedError, TruncatedError
from asynctls.runtime.observing import Observer
from asynctls.runtime.traffic import Metered
from asynctls.streams import PeerStream
from asynctls.tls import KEEPALIVE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asynctls.config import Address
    from asynctls.enrolment.keeper import Keeper

__all__ = ["open_peer_stream"]


@asynccontextmanager
async def open_peer_stream(
    keeper: Keeper,
    address: Address,
    *,
    server_name: str | None,
    timeout_s: float,
    keepalive_s: float = KEEPALIVE_S,
    live_after_expiry: LiveAfterExpiry = LiveAfterExpiry.END,
    observer: Observer | None = None,
) -> AsyncIterator[PeerStream]:
    """Opens a plain stream by the identity that ``keeper`` holds.

    Args:
        keeper: our identity and the CRLs.
        address: where to connect.
        server_name: the name that its certificate must have; None: the host in ``address``.
        timeout_s: for the TCP connection, and again for the TLS handshake.
        keepalive_s: how long the server may be silent to TCP before it counts as dead.
        live_after_expiry: what a certificate's end means for the stream.
        observer: is told of handshakes, and of streams as of sessions.

    Raises:
        ServerUnreachableError: nobody answers there.
        HandshakeError: we refused the server, or it us.
    """
    observer = observer or Observer()
    connection = await connected(
        keeper,
        address,
        server_name=server_name,
        timeout_s=timeout_s,
        keepalive_s=keepalive_s,
        alpn=None,
        live_after_expiry=live_after_expiry,
        observer=observer,
    )
    stream = PeerStream(connection.stream, peer=connection.peer)
    metered = Metered(connection.stream)
    observer.session_started(metered)
    failure: SessionTruncatedError | None = None
    expiry = expiry_of(
        stream,
        own_certificate=connection.own_certificate,
        live_after_expiry=lambda: live_after_expiry,
    )
    try:
        async with standing_watched(keeper, lambda: [stream], connection.rules):
            expiry.start()
            yield stream
            await stream.wait_closed()
    except TruncatedError as error:
        failure = SessionTruncatedError(str(error))
        raise
    finally:
        expiry.stop()
        stream.abort()
        observer.session_ended(metered, failure)
