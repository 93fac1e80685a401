"""The honest connection before any attack: whom we are dealing with, and that it serves at all.

A server that refuses everybody withstands nothing. So the probe first connects as any client of
the server's would, with the caller's own identity, and opens a session where the server has some.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.admission import Peer
from asynctls.alerts import Alert
from asynctls.client.connecting import open_connection
from asynctls.client.refusals import explained
from asynctls.errors import AsynctlsError, ErrorCode, HandshakeError, ProbeError, RefusedByPeerError
from asynctls.probe.attack import Target
from asynctls.probe.clients import verifying
from asynctls.session import ALPN, Limits, Session
from asynctls.tls import Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynctls.config import Address
    from asynctls.enrolment import Identity

__all__ = ["meet"]

_PATIENCE_S = 5.0
_LIMITS = Limits(handshake_timeout_s=_PATIENCE_S, close_timeout_s=2.0)


async def meet(address: Address, identity: Identity, *, server_name: str | None = None) -> Target:
    """Connects to a server honestly, and says what it is.

    The server's chain, dates and purpose are verified, and its name where one is given. No CRL is
    asked for.

    Args:
        address: the server's.
        identity: ours.
        server_name: a DNS name, an IP address or a URI that it must have; None: any.

    Raises:
        ProbeError: nobody is there, it refused us or we it, or no session came about: why, and
            what to do.
    """
    try:
        stream = await _connect(address, identity, server_name)
        if stream.peer_certificate is None:
            raise HandshakeError(f"the server at {address} shows no certificate")
        server = Peer.of(stream.peer_certificate)
        sessions = stream.alpn == ALPN
        if sessions:
            await _hold_session(stream, identity, server)
        else:
            await stream.close()
    except AsynctlsError as error:
        raise ProbeError(f"an honest client is not served: {error}") from error
    return Target(address, identity, server, sessions=sessions, server_name=server_name)


async def _connect(address: Address, identity: Identity, server_name: str | None) -> Stream:
    """With our protocol; or without, to a server that takes nobody who asks for this one."""
    try:
        return await _shake_hands(address, identity, server_name, alpn=(ALPN,))
    except RefusedByPeerError as error:
        if error.alert is not Alert.NO_APPLICATION_PROTOCOL:
            raise
    return await _shake_hands(address, identity, server_name, alpn=())


async def _shake_hands(
    address: Address, identity: Identity, server_name: str | None, *, alpn: Sequence[str]
) -> Stream:
    client = await verifying(identity, name=server_name, alpn=alpn, agreed=(ALPN, None))
    reader, writer = await open_connection(address, timeout_s=_PATIENCE_S)
    try:
        return await Stream.connect(
            reader,
            writer,
            client.context,
            server_hostname=client.host,
            admit=client.admit,
            timeout_s=_PATIENCE_S,
        )
    except HandshakeError as error:
        raise explained(error, address=address, identity=identity, name=server_name) from error


async def _hold_session(stream: Stream, identity: Identity, server: Peer) -> None:
    async with Session.connect(
        stream, own_certificate=identity.certificate, peer=server, limits=_LIMITS
    ) as session:
        # A server that waits for its receipt would not CLOSE.
        await session.end(ErrorCode.INTERNAL, "asynctls probe has seen that sessions open here")
