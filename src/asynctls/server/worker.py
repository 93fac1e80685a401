"""One of several processes that serve: all that a server does, but for joining and renewing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from asynctls import logs
from asynctls.admission import StaleCRL
from asynctls.config import ServerConfig
from asynctls.enrolment.identity import Identity
from asynctls.enrolment.kept_by_another import KeptByAnother
from asynctls.errors import WorkerError
from asynctls.runtime import Reload
from asynctls.runtime.inherited import inherit
from asynctls.runtime.observing import Observer
from asynctls.runtime.orders import Orders
from asynctls.server.running import serve_services
from asynctls.server.services import services_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from asynctls.runtime.channel import Family
    from asynctls.runtime.orders import Appointment

__all__ = ["work"]


async def work(appointed: Appointment) -> None:
    """Serves as the supervisor says, until it says so no more.

    Raises:
        ConfigError: an app cannot be imported, or a socket not be used.
        IdentityError: there is no identity that can be used.
        CertificateError: its key and certificate cannot be used.
        WorkerError: the supervisor was not `supervising.Workers`.
    """
    with appointed.channel:
        await _work(appointed)


async def _work(appointed: Appointment) -> None:
    config = appointed.config
    if not isinstance(config, ServerConfig):
        raise WorkerError("the supervisor gave no config of a server")
    logs.configure(config.log_format)
    structlog.contextvars.bind_contextvars(worker=appointed.worker)
    inherit(appointed.sockets)
    services = await services_of(config)
    observer, registry = _observer(config)

    # It reads no file again: the supervisor does, and gives the config to all of us.
    reload = Reload(config, lambda: config)

    async def take_anew(given: object) -> None:
        if not isinstance(given, ServerConfig):
            raise WorkerError("the supervisor gave no config of a server")
        await reload.take_anew(given)

    async def count() -> list[Family]:
        if registry is None:
            return []
        from asynctls.runtime.worker_metrics import counted  # noqa: PLC0415 - as below

        return await counted(registry)

    def ask() -> None:
        orders.want()

    keeper = KeptByAnother(
        await asyncio.to_thread(Identity.load, config.state),
        stale_crl=StaleCRL(config.stale_crl),
        ask=ask,
    )
    orders = Orders(appointed.channel, on_changed=keeper.look, on_reload=take_anew, on_count=count)
    async with orders, keeper:
        # What was written between the two readings.
        keeper.look()
        for each in services:
            await keeper.server_credentials(alpn=each.terms.alpn)
        await serve_services(reload, services, keeper, orders, observer)


def _observer(config: ServerConfig) -> tuple[Observer, CollectorRegistry | None]:
    if config.metrics_listen is None:
        return Observer(), None
    # Only a daemon with metrics pays for importing what makes them.
    from asynctls.runtime.metrics import new_registry  # noqa: PLC0415
    from asynctls.runtime.session_metrics import ConnectionMetrics  # noqa: PLC0415

    registry = new_registry("server")
    return ConnectionMetrics(registry), registry
