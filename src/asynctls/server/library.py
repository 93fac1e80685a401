"""Serving from a program: sessions to an app, plain mutual-TLS streams to a handler."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asynctls.config import Address, ServerConfig
from asynctls.enrolment.identity import Identity
from asynctls.enrolment.keeper import Keeper
from asynctls.server.accepting import Terms
from asynctls.server.connections import SessionServer
from asynctls.server.running import serving_alone
from asynctls.server.services import Service
from asynctls.server.serving import allowed
from asynctls.server.streams import StreamHandler, StreamServer
from asynctls.session import ALPN, Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from asynctls.runtime.observing import Observer
    from asynctls.server.accepting import Acceptor
    from asynctls.server.apps import App
    from asynctls.server.serving import Serves

__all__ = ["serve", "serve_streams", "serving", "serving_streams"]


async def serve(
    app: App,
    address: str,
    *,
    identity: str | Path | Identity,
    allow: Sequence[str],
    limits: Limits | None = None,
    drain_s: float = 0.0,
) -> None:
    """Serves ``app`` to each peer that is allowed, until it is cancelled.

    Args:
        app: a coroutine function that takes a `Session`; when it returns, the session is closed.
        address: where to listen, ``HOST:PORT``.
        identity: the state folder of an identity, or the identity.
        allow: names of peers, as patterns (DNS or URI); ``["any"]`` lets in whomever the TTP
            issued a certificate.
        limits: of messages, queues and waiting; None: `Limits()`.
        drain_s: once it is cancelled, how long live sessions may go on, in seconds: their clients
            are told that the server goes away, and no new ones are let in. Then they are cut off.

    Raises:
        ConfigError: nobody is allowed in, or the address cannot be listened on.
        IdentityError: there is no identity, or it has expired.
        CertificateError: its key and certificate cannot be used.
    """
    async with serving(
        app, address, identity=identity, allow=allow, limits=limits, drain_s=drain_s
    ):
        await asyncio.get_running_loop().create_future()


async def serve_streams(
    handler: StreamHandler,
    address: str,
    *,
    identity: str | Path | Identity,
    allow: Sequence[str],
    drain_s: float = 0.0,
) -> None:
    """Serves plain mutual TLS, without frames or ALPN, until it is cancelled.

    Args:
        handler: a coroutine function that takes a `PeerStream`; when it returns, the stream is
            closed.
        address: as for `serve`.
        identity: likewise.
        allow: likewise.
        drain_s: once it is cancelled, how long live streams may go on, in seconds.

    Raises:
        ConfigError: nobody is allowed in, or the address cannot be listened on.
        IdentityError: there is no identity, or it has expired.
        CertificateError: its key and certificate cannot be used.
    """
    async with serving_streams(handler, address, identity=identity, allow=allow, drain_s=drain_s):
        await asyncio.get_running_loop().create_future()


@asynccontextmanager
async def serving(
    app: App,
    address: str,
    *,
    identity: str | Path | Identity,
    allow: Sequence[str],
    limits: Limits | None = None,
    drain_s: float = 0.0,
) -> AsyncIterator[Address]:
    """As `serve`, while the context lasts; gives the address as it really is (port 0 works)."""
    chosen = limits or Limits()
    async with _serving(
        lambda acceptor, observer: SessionServer(app, acceptor, limits=chosen, observer=observer),
        address,
        identity=identity,
        allow=allow,
        alpn=ALPN,
        drain_s=drain_s,
    ) as listening:
        yield listening


@asynccontextmanager
async def serving_streams(
    handler: StreamHandler,
    address: str,
    *,
    identity: str | Path | Identity,
    allow: Sequence[str],
    drain_s: float = 0.0,
) -> AsyncIterator[Address]:
    """As `serve_streams`, while the context lasts; gives the address as it really is."""
    async with _serving(
        lambda acceptor, observer: StreamServer(handler, acceptor, observer=observer),
        address,
        identity=identity,
        allow=allow,
        alpn=None,
        drain_s=drain_s,
    ) as listening:
        yield listening


@asynccontextmanager
async def _serving(
    serves: Callable[[Acceptor, Observer], Serves],
    address: str,
    *,
    identity: str | Path | Identity,
    allow: Sequence[str],
    alpn: str | None,
    drain_s: float,
) -> AsyncIterator[Address]:
    defaults = ServerConfig()
    service = Service(
        setting="listen",
        listen=Address.parse(address),
        terms=Terms(
            allow=await asyncio.to_thread(allowed, allow),
            alpn=alpn,
            handshakes=defaults.handshakes,
            handshake_timeout_s=defaults.handshake_timeout.total_seconds(),
        ),
        serves=serves,
    )
    found = await Identity.of(identity)
    found.check_valid(datetime.now(UTC))
    async with (
        Keeper(found, crl_interval=defaults.crl_interval) as keeper,
        serving_alone(service, keeper, drain_s=drain_s) as listening,
    ):
        yield listening
