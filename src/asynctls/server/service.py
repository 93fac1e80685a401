"""The server role: one identity, and whatever services its config describes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from asynctls.admission import StaleCRL
from asynctls.enrolment.health import identity_troubles
from asynctls.enrolment.joining import ensure_identity
from asynctls.enrolment.keeper import Keeper
from asynctls.pki.keys import KeyType
from asynctls.runtime import Reload, Signals
from asynctls.runtime.observing import observed
from asynctls.server.running import serve_services
from asynctls.server.services import services_of
from asynctls.server.supervising import Workers
from asynctls.state import hold_state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.registry import Collector

    from asynctls.config import ServerConfig
    from asynctls.server.services import Service

__all__ = ["run"]


async def run(config: ServerConfig, load: Callable[[], ServerConfig]) -> int:
    """The daemon ``asynctls server``: joins if need be, serves until it is told to stop.

    Args:
        config: its settings.
        load: reads them again, for a reload; blocks.

    Raises:
        ConfigError: nobody is allowed in, or an address cannot be listened on.
        EnrolmentError: there is no identity, and none could be had.
        CertificateError: the identity's key and certificate cannot be used.
        StateError: the state folder cannot be used, or another daemon holds it.
        WorkerError: a worker process could not be started.

    Returns:
        The exit code: 0, or that of a worker that ended before it served, and has said why.
    """
    # Before all else, so that what is wrong with an app of the user's own uses up no token.
    services = await services_of(config)
    workers = Workers(config, services)
    reload = Reload(config, load)
    async with (
        hold_state_folder(config.state),
        Signals(on_reload=reload.run, alive=workers.alive) as signals,
    ):
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
            return 0
        identity.check_valid(datetime.now(UTC))
        async with AsyncExitStack() as stack:
            # It waits for the TTP's first answer: not when we are told to stop meanwhile.
            keeper = await signals.unless_stopping(
                stack.enter_async_context(
                    Keeper(
                        identity,
                        crl_interval=config.crl_interval,
                        stale_crl=StaleCRL(config.stale_crl),
                        holds_folder=True,
                    )
                )
            )
            if keeper is None:
                return 0
            # Now, so that what is wrong with key or certificate is found before anybody connects;
            # and one that ends while it is served is then still shown: the client tells why it
            # refuses it.
            for each in services:
                await keeper.server_credentials(alpn=each.terms.alpn)
            if config.workers > 1:
                return await workers.run(keeper, signals, reload)
            await _serve_alone(reload, services, keeper, signals)
            return 0


async def _serve_alone(
    reload: Reload[ServerConfig], services: Iterable[Service], keeper: Keeper, signals: Signals
) -> None:
    async with observed(
        reload.config.metrics_listen,
        role="server",
        collect=partial(_collector, keeper),
        troubles=partial(identity_troubles, keeper),
    ) as observer:
        await serve_services(reload, services, keeper, signals, observer, then=keeper.refresh_crl)


def _collector(keeper: Keeper) -> Collector:
    # Only a daemon with metrics pays for importing what makes them.
    from asynctls.enrolment.metrics import IdentityMetrics  # noqa: PLC0415

    return IdentityMetrics(keeper)
