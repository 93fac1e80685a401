"""The server role: one identity, one listening socket, an app for each session."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from asynctls.admission import StaleCRL
from asynctls.config import Endpoint
from asynctls.enrolment.joining import ensure_identity
from asynctls.enrolment.keeper import Keeper
from asynctls.pki.keys import KeyType
from asynctls.runtime import Signals, serve_until_stopped
from asynctls.runtime.observing import Observer, observed
from asynctls.server.accepting import Acceptor
from asynctls.server.apps import app_of
from asynctls.server.connections import SessionServer
from asynctls.server.forwarding import forward
from asynctls.server.serving import allowed, serving
from asynctls.server.streams import StreamServer
from asynctls.session import ALPN, Limits
from asynctls.state import hold_state_folder

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from asynctls.config import ServerConfig
    from asynctls.server.apps import App

__all__ = ["run"]

# How long what is forwarded to may take to answer.
_REACH_S = 10.0


async def run(config: ServerConfig) -> None:
    """The daemon ``asynctls server``: joins if need be, serves until it is told to stop.

    Raises:
        ConfigError: nobody is allowed in, or the address cannot be listened on.
        EnrolmentError: there is no identity, and none could be had.
        CertificateError: the identity's key and certificate cannot be used.
        StateError: the state folder cannot be used, or another daemon holds it.
    """
    allow = allowed(config.allow)
    # Before all else, so that what is wrong with an app of the user's own uses up no token.
    served = config.app.target or await app_of(config)
    alpn = ALPN if config.app.target is None else None
    keeper: Keeper | None = None

    async def reload() -> None:
        if keeper is not None:
            await keeper.reload()

    async with hold_state_folder(config.state), Signals(on_reload=reload) as signals:
        identity = await signals.unless_stopping(
            ensure_identity(
                config.state,
                join_string=config.join,
                join_file=config.join_file,
                key_type=KeyType(config.key_type),
                give_up_after=None,
            )
        )
        if identity is None:
            return
        identity.check_valid(datetime.now(UTC))
        async with AsyncExitStack() as stack:
            # It waits for the TTP's first answer: not when we are told to stop meanwhile.
            keeper = await signals.unless_stopping(
                stack.enter_async_context(
                    Keeper(
                        identity,
                        crl_interval=config.crl_interval,
                        stale_crl=StaleCRL(config.stale_crl),
                        alpn=() if alpn is None else (alpn,),
                        holds_folder=True,
                    )
                )
            )
            if keeper is None:
                return
            observer = await stack.enter_async_context(
                observed(config.metrics_listen, role="server", collect=partial(_collector, keeper))
            )
            acceptor = Acceptor(
                keeper,
                allow=allow,
                alpn=alpn,
                handshakes=config.handshakes,
                handshake_timeout_s=config.handshake_timeout.total_seconds(),
                observer=observer,
            )
            server = _server(config, served, acceptor, observer)
            async with serving(server, keeper, config.listen) as now:
                await serve_until_stopped(
                    signals,
                    now.listener,
                    now.connections,
                    drain=config.drain,
                    on_drain=server.go_away,
                )


def _server(
    config: ServerConfig, served: App | Endpoint, acceptor: Acceptor, observer: Observer
) -> SessionServer | StreamServer:
    if isinstance(served, Endpoint):
        handler = forward(served, timeout_s=_REACH_S)
        return StreamServer(handler, acceptor, observer=observer)
    return SessionServer(
        served,
        acceptor,
        limits=Limits(
            max_message_bytes=config.max_message,
            receipt_timeout_s=config.receipt_timeout.total_seconds(),
        ),
        observer=observer,
    )


def _collector(keeper: Keeper) -> Collector:
    # Only a daemon with metrics pays for importing what makes them.
    from asynctls.enrolment.metrics import IdentityMetrics  # noqa: PLC0415

    return IdentityMetrics(keeper)
