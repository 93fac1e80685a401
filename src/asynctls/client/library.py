"""Connecting from a program: to a session, to one session after the other, to a plain stream."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from asynctls.client.connecting import open_session
from asynctls.client.reconnecting import sessions
from asynctls.client.streams import open_peer_stream
from asynctls.config import Address, ClientConfig
from asynctls.enrolment.identity import Identity
from asynctls.enrolment.keeper import Keeper
from asynctls.errors import CertificateError, PeerRefusedError, RefusedByPeerError
from asynctls.session import Limits, Session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from types import TracebackType

    from asynctls.streams import PeerStream

__all__ = ["Connecting", "connect", "open_stream"]

_DEFAULTS = ClientConfig()
_CONNECT_TIMEOUT_S = _DEFAULTS.connect_timeout.total_seconds()
# Before there was a session at all, these tell of a mistake sooner than of bad luck.
_NOT_TRIED_AGAIN = (PeerRefusedError, RefusedByPeerError, CertificateError)


def connect(
    address: str,
    *,
    server_name: str | None = None,
    identity: str | Path | Identity,
    limits: Limits | None = None,
    connect_timeout_s: float = _CONNECT_TIMEOUT_S,
) -> Connecting:
    """Opens a session with a server, or one after the other, for as long as they are wanted.

    As an async context manager it opens one::

        async with asynctls.connect("127.0.0.1:8443", identity="state/") as session:
            print(await session.receive())

    As an async iterator it opens another one whenever the last has ended, after a pause that
    grows from half a second to half a minute::

        async for session in asynctls.connect("127.0.0.1:8443", identity="state/"):
            try:
                async for message in session:
                    print(message)
            except asynctls.SessionError:
                continue

    The session is closed when the body is done with it; an error that the body lets out ends the
    iteration. Our own identity is kept all the while: renewed, its CRLs fetched.

    Args:
        address: the server's, ``HOST:PORT``.
        server_name: the name that its certificate must have, a DNS name, an IP address or a URI;
            None: the host in ``address``.
        identity: the state folder of an identity, or the identity.
        limits: of messages, queues and waiting; None: `Limits()`.
        connect_timeout_s: for the TCP connection, and again for the TLS handshake, in seconds.

    Raises:
        ValueError: the address is none.
        ServerUnreachableError: nobody answers there (entering; an iterator tries again).
        HandshakeError: we refused the server, or it us; the message says why and what to do. An
            iterator raises it only where there was no session yet, and tries again later: an alert
            is not authenticated, and a certificate can be renewed.
        SessionError: the session did not come about (entering; an iterator tries again).
        IdentityError: there is no identity.
        CertificateError: its key and certificate cannot be used.
    """
    return Connecting(
        Address.parse(address),
        server_name=server_name,
        identity=identity,
        limits=limits or Limits(),
        connect_timeout_s=connect_timeout_s,
    )


class Connecting:
    """What `connect` returns: a context manager, and an iterator, of sessions."""

    def __init__(
        self,
        address: Address,
        *,
        server_name: str | None,
        identity: str | Path | Identity,
        limits: Limits,
        connect_timeout_s: float,
    ) -> None:
        """Connects to nobody yet; the arguments are those of `connect`."""
        self._address = address
        self._server_name = server_name
        self._identity = identity
        self._limits = limits
        self._connect_timeout_s = connect_timeout_s
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Session:
        async with AsyncExitStack() as stack:
            keeper = await stack.enter_async_context(_keeping(self._identity))
            session = await stack.enter_async_context(self._open_session(keeper))
            self._stack = stack.pop_all()
        return session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    async def __aiter__(self) -> AsyncGenerator[Session, None]:
        """Session after session; `contextlib.aclosing` of it waits for the end of the last one."""
        async with (
            _keeping(self._identity) as keeper,
            aclosing(
                sessions(lambda: self._open_session(keeper), raised=_NOT_TRIED_AGAIN)
            ) as opened,
        ):
            async for session in opened:
                yield session

    def _open_session(self, keeper: Keeper) -> AbstractAsyncContextManager[Session]:
        return open_session(
            keeper,
            self._address,
            server_name=self._server_name,
            timeout_s=self._connect_timeout_s,
            limits=self._limits,
        )


@asynccontextmanager
async def open_stream(
    address: str,
    *,
    server_name: str | None = None,
    identity: str | Path | Identity,
    connect_timeout_s: float = _CONNECT_TIMEOUT_S,
) -> AsyncIterator[PeerStream]:
    """Opens a plain mutual-TLS stream to a server, as an async context manager.

    Without frames and without ALPN: the server can be any TLS program that asks for certificates.
    Leaving the context closes the stream in good order, or at once if it is left by an exception.

    Args:
        address: the server's, ``HOST:PORT``.
        server_name: the name that its certificate must have, a DNS name, an IP address or a URI;
            None: the host in ``address``.
        identity: the state folder of an identity, or the identity.
        connect_timeout_s: for the TCP connection, and again for the TLS handshake, in seconds.

    Raises:
        ServerUnreachableError: nobody answers there.
        HandshakeError: we refused the server, or it us; the message says why and what to do.
        IdentityError: there is no identity.
    """
    where = Address.parse(address)
    async with (
        _keeping(identity) as keeper,
        open_peer_stream(
            keeper, where, server_name=server_name, timeout_s=connect_timeout_s
        ) as stream,
    ):
        yield stream


@asynccontextmanager
async def _keeping(identity: str | Path | Identity) -> AsyncIterator[Keeper]:
    """Whoever connects, kept while the context lasts."""
    found = await Identity.of(identity)
    async with Keeper(found, crl_interval=_DEFAULTS.crl_interval) as keeper:
        yield keeper
