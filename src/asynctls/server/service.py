"""The server role: one identity, one listening socket, an app for each session."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from asynctls.admission import StaleCRL, allow_list
from asynctls.config import Address, ServerConfig
from asynctls.enrolment.identity import Identity
from asynctls.enrolment.joining import ensure_identity
from asynctls.enrolment.keeper import Keeper
from asynctls.enrolment.standing import standing_watched
from asynctls.errors import CertificateError, ConfigError, Fault
from asynctls.pki.keys import KeyType
from asynctls.runtime import (
    Connections,
    Listener,
    Signals,
    listen,
    serve_until_stopped,
)
from asynctls.runtime.observing import observed
from asynctls.server.apps import App, echo_app, message_app
from asynctls.server.connections import SessionServer
from asynctls.session import ALPN, Limits
from asynctls.state import hold_state_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from prometheus_client.registry import Collector

    from asynctls.admission import Anyone
    from asynctls.pki.names import Pattern

__all__ = ["run", "serve"]


async def run(config: ServerConfig) -> None:
    """The daemon ``asynctls server``: joins if need be, serves until it is told to stop.

    Raises:
        ConfigError: nobody is allowed in, or the address cannot be listened on.
        EnrolmentError: there is no identity, and none could be had.
        CertificateError: the identity's key and certificate cannot be used.
        StateError: the state folder cannot be used, or another daemon holds it.
    """
    allow = _allowed(config.allow)
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
                        alpn=[ALPN],
                        holds_folder=True,
                    )
                )
            )
            if keeper is None:
                return
            observer = await stack.enter_async_context(
                observed(config.metrics_listen, role="server", collect=partial(_collector, keeper))
            )
            server = SessionServer(
                echo_app if config.app == "echo" else message_app(config.message),
                keeper=keeper,
                allow=allow,
                handshakes=config.handshakes,
                handshake_timeout_s=config.handshake_timeout.total_seconds(),
                limits=Limits(
                    max_message_bytes=config.max_message,
                    receipt_timeout_s=config.receipt_timeout.total_seconds(),
                ),
                observer=observer,
            )
            async with _serving(server, keeper, config.listen) as serving:
                await serve_until_stopped(
                    signals,
                    serving.listener,
                    serving.connections,
                    drain=config.drain,
                    on_drain=server.go_away,
                )


async def serve(
    app: App, address: str, *, identity: str | Path | Identity, allow: Sequence[str]
) -> None:
    """Serves ``app`` to each peer that is allowed, until it is cancelled.

    Args:
        app: a coroutine function that takes a `Session`; when it returns, the session is closed.
        address: where to listen, ``HOST:PORT``.
        identity: the state folder of an identity, or the identity.
        allow: names of peers, as patterns (DNS or URI); ``["any"]`` lets in whomever the TTP
            issued a certificate.

    Raises:
        ConfigError: nobody is allowed in, or the address cannot be listened on.
        IdentityError: there is no identity, or it has expired.
        CertificateError: its key and certificate cannot be used.
    """
    allowed = _allowed(allow)
    where = Address.parse(address)
    if not isinstance(identity, Identity):
        identity = await asyncio.to_thread(Identity.load, Path(identity))
    identity.check_valid(datetime.now(UTC))
    defaults = ServerConfig()
    async with Keeper(identity, crl_interval=defaults.crl_interval, alpn=[ALPN]) as keeper:
        server = SessionServer(
            app,
            keeper=keeper,
            allow=allowed,
            handshakes=defaults.handshakes,
            handshake_timeout_s=defaults.handshake_timeout.total_seconds(),
            limits=Limits(),
        )
        async with _serving(server, keeper, where):
            await asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True)
class _Serving:
    listener: Listener
    connections: Connections


@asynccontextmanager
async def _serving(
    server: SessionServer, keeper: Keeper, address: Address
) -> AsyncIterator[_Serving]:
    # Now, so that what is wrong with key or certificate is found before anybody connects; and one
    # that ends while it is served is then still shown: the client tells why it refuses it.
    await keeper.server_credentials()
    async with (
        Connections(server.serve) as connections,
        standing_watched(keeper, lambda: server.live, server.rules),
        listen(address, connections.accept, role="server") as listener,
    ):
        yield _Serving(listener, connections)


def _collector(keeper: Keeper) -> Collector:
    # Only a daemon with metrics pays for importing what makes them.
    from asynctls.enrolment.metrics import IdentityMetrics  # noqa: PLC0415

    return IdentityMetrics(keeper)


def _allowed(texts: Sequence[str]) -> tuple[Pattern, ...] | Anyone:
    if not texts:
        raise ConfigError(
            Fault(
                "server.allow",
                "not set",
                "nobody could connect: say who may, as in --allow client, or --allow any for "
                "everybody whom the TTP issued a certificate",
            )
        )
    try:
        return allow_list(texts)
    except CertificateError as error:
        raise ConfigError(Fault("server.allow", ", ".join(texts), str(error))) from error
