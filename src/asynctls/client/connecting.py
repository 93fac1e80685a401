"""From an address to an open session: TCP, TLS, `admit`, KEY."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from asynctls.admission import Admitted, Anyone, LiveAfterExpiry, Peer, Refused, admit
from asynctls.client.refusals import explained
from asynctls.client.resuming import Resuming
from asynctls.enrolment.standing import standing_watched
from asynctls.errors import (
    HandshakeError,
    PeerRefusedError,
    RefusedByPeerError,
    ServerUnreachableError,
)
from asynctls.logger import get_logger, logger_for
from asynctls.pki.names import NameKind, kind_of
from asynctls.runtime.figures import session_figures
from asynctls.runtime.observing import Observer
from asynctls.runtime.traffic import Metered
from asynctls.session import ALPN, Limits, Session
from asynctls.tls import KEEPALIVE_S, Part, Stream, address_of, open_tcp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asynctls.admission import Rules
    from asynctls.config import Address
    from asynctls.enrolment.identity import Identity
    from asynctls.enrolment.keeper import Keeper
    from asynctls.tls import Engine

__all__ = ["Connected", "connected", "open_connection", "open_session"]

log = get_logger()


@asynccontextmanager
async def open_session(
    keeper: Keeper,
    address: Address,
    *,
    server_name: str | None,
    timeout_s: float,
    keepalive_s: float = KEEPALIVE_S,
    limits: Limits,
    live_after_expiry: LiveAfterExpiry = LiveAfterExpiry.END,
    observer: Observer | None = None,
) -> AsyncIterator[Session]:
    """Opens a session by the identity that ``keeper`` holds.

    Args:
        keeper: our identity and the CRLs.
        address: where to connect.
        server_name: the name that its certificate must have; None: the host in ``address``.
        timeout_s: for the TCP connection, and again for the TLS handshake, in seconds.
        keepalive_s: how long the server may be silent to TCP before it counts as dead.
        limits: the session's.
        live_after_expiry: what a certificate's end means for the session.
        observer: is told of handshake and session.

    Raises:
        ServerUnreachableError: nobody answers there.
        HandshakeError: we refused the server, or it us.
        SessionError: the session did not come about, or how it ended.
    """
    observer = observer or Observer()
    connection = await connected(
        keeper,
        address,
        server_name=server_name,
        timeout_s=timeout_s,
        keepalive_s=keepalive_s,
        alpn=ALPN,
        live_after_expiry=live_after_expiry,
        observer=observer,
    )
    stream = connection.stream
    session = Session.connect(
        stream,
        own_certificate=connection.own_certificate,
        peer=connection.peer,
        limits=limits,
        live_after_expiry=lambda: live_after_expiry,
    )
    peer = str(session.peer)
    log.info(
        "connected",
        peer=peer,
        address=str(address),
        version=stream.version,
        cipher=stream.cipher,
        resumed=stream.resumed,
    )
    metered = Metered(stream, session)
    opened = False
    try:
        async with session, standing_watched(keeper, lambda: [session], connection.rules):
            log.info("session started", peer=peer, address=str(address))
            opened = True
            observer.session_started(metered)
            yield session
    finally:
        if opened:
            observer.session_ended(metered, session.failure)
        else:
            observer.session_not_opened(metered, session.failure)
        if session.failure is not None:
            log.debug("session failed", error=session.failure)
        log.info(
            "session ended",
            peer=peer,
            address=str(address),
            reason=session.end_reason,
            **session_figures(stream, session),
        )


class Connected(msgspec.Struct, frozen=True):
    """An established connection, its server, our certificate (DER), and the rules it came by."""

    stream: Stream
    peer: Peer
    own_certificate: bytes
    rules: Callable[[], Rules]


async def connected(
    keeper: Keeper,
    address: Address,
    *,
    server_name: str | None,
    timeout_s: float,
    keepalive_s: float,
    alpn: str | None,
    live_after_expiry: LiveAfterExpiry,
    observer: Observer,
) -> Connected:
    """Connects by TCP and TLS to a server that is admitted.

    Args:
        keeper: our identity and the CRLs.
        address: where to connect.
        server_name: as for `open_session`.
        timeout_s: for the TCP connection, and again for the TLS handshake.
        keepalive_s: how long the server may be silent to TCP before it counts as dead.
        alpn: the protocol that must be agreed; None: none.
        live_after_expiry: what a certificate's end means for the connection.
        observer: is told how the handshake ended.

    Raises:
        ServerUnreachableError: nobody answers there.
        HandshakeError: we refused the server, or it us.
    """
    name = server_name or address.host
    # OpenSSL matches DNS names and addresses; all else (urn:… too) is for `admit`.
    is_uri = kind_of(name) is NameKind.URI

    def rules() -> Rules:
        return keeper.rules(
            Anyone(),
            alpn=alpn,
            server_uri=name if is_uri else None,
            live_after_expiry=live_after_expiry,
        )

    def decide(certificate: bytes | None, alpn: str | None) -> Admitted | Refused:
        return admit(certificate, alpn, now=datetime.now(UTC), rules=rules())

    def tell(engine: Engine) -> None:
        hello = engine.client_hello
        if hello is not None:
            log.debug(
                "ClientHello sent",
                address=str(address),
                name=name,
                versions=hello.versions,
                cipher_suites=hello.cipher_suites,
                alpn=hello.alpn,
                octets=engine.sent.total,
            )
        elif engine.shown_certificate is not None:
            # Our second flight leaves only when the server is verified and let in.
            _log_server("server verified", name, Peer.of(engine.shown_certificate), rules())
            _log_proof(keeper.identity, engine)

    credentials = await (
        keeper.client_credentials_for_any_host(alpn=alpn)
        if is_uri
        else keeper.client_credentials(alpn=alpn)
    )
    reader, writer = await open_connection(address, timeout_s=timeout_s)
    log.debug("TCP connected", address=str(address), found=address_of(writer))
    resuming = Resuming(credentials, address, name)
    try:
        stream = await Stream.connect(
            reader,
            writer,
            credentials.context,
            server_hostname=None if is_uri else name,
            admit=decide,
            timeout_s=timeout_s,
            keepalive_s=keepalive_s,
            session=resuming.session(decide, alpn),
            on_flight=tell if logger_for(logging.DEBUG) is not None else None,
        )
    except HandshakeError as error:
        resuming.forget()
        log.debug("handshake failed", address=str(address), name=name, error=error)
        observer.handshake_failed(error)
        if isinstance(error, PeerRefusedError | RefusedByPeerError):
            # One of the two may know less than the TTP by now.
            keeper.refresh_soon()
        raise explained(error, address=address, identity=keeper.identity, name=name) from error
    observer.handshake_done()
    if stream.peer_certificate is None:
        raise RuntimeError("a server without a certificate was admitted")
    resuming.keep(stream)
    peer = Peer.of(stream.peer_certificate)
    if stream.resumed and logger_for(logging.DEBUG) is not None:
        _log_server("TLS session resumed", name, peer, rules())
    return Connected(stream, peer, credentials.certificate, rules)


def _log_server(event: str, name: str, peer: Peer, rules: Rules) -> None:
    log.debug(
        event,
        name=name,
        names=peer.sans,
        serial=peer.serial,
        not_after=peer.not_after.isoformat(),
        crls=[str(each) for each in rules.crls if each.issuer == peer.issuer],
    )


def _log_proof(own: Identity, engine: Engine) -> None:
    sent = engine.sent.bytes_by_part
    # A server that asks for no certificate gets none.
    if sent[Part.CERTIFICATE_VERIFY]:
        log.debug(
            "certificate proven",
            name=own.name,
            certificates=sent[Part.CERTIFICATES],
            proof=sent[Part.CERTIFICATE_VERIFY],
        )


async def open_connection(
    address: Address, *, timeout_s: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects by TCP alone.

    Raises:
        ServerUnreachableError: nobody answers there, or not within `timeout_s`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await open_tcp(address)
    except TimeoutError as error:
        raise ServerUnreachableError(
            f"the server at {address} did not answer within {timeout_s:g} s"
        ) from error
    except OSError as error:
        raise ServerUnreachableError(
            f"the server at {address} cannot be reached: {_in_words(error)}; "
            "is 'asynctls server' running there?"
        ) from error


def _in_words(error: OSError) -> str:
    # The standard loop puts the address where the system's words belong.
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)
