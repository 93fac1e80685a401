"""What a server does at one address, as a value: made of its config before it runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import msgspec

from asynctls.admission import LiveAfterExpiry
from asynctls.errors import ConfigError, Fault
from asynctls.runtime.session_limits import limits_of
from asynctls.server.accepting import Terms
from asynctls.server.apps import app_of
from asynctls.server.connections import SessionServer
from asynctls.server.forwarding import forward, forward_sessions
from asynctls.server.serving import allowed
from asynctls.server.streams import StreamServer
from asynctls.session import ALPN

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.config import Address, ServerConfig
    from asynctls.runtime.observing import Observer
    from asynctls.server.accepting import Acceptor
    from asynctls.server.serving import Serves

__all__ = ["Service", "services_of"]


class Service(msgspec.Struct, frozen=True):
    """One address, who may come there, and what each gets.

    Attributes:
        setting: the key of ``listen`` within the role's table, for faults.
        listen: where; port 0 lets the system choose.
        terms: on which peers come in.
        serves: makes what serves those who did.
        max_connections: at once; None: as many as open files allow.
        max_connections_per_address: of them, from one address; None: half of them.
        sockets: how many one connection takes: two where it is carried on.
    """

    setting: str
    listen: Address
    terms: Terms
    serves: Callable[[Acceptor, Observer], Serves]
    max_connections: int | None = None
    max_connections_per_address: int | None = None
    sockets: int = 1

    @classmethod
    async def of(cls, config: ServerConfig, *, setting: str = "listen") -> Self:
        """The service that a config describes.

        Raises:
            ConfigError: nobody is allowed in, or its app is to be imported and cannot be.
        """
        return cls(
            setting=setting,
            listen=config.listen,
            terms=Terms(
                allow=await asyncio.to_thread(allowed, config.allow),
                alpn=ALPN if config.app.target is None or config.session else None,
                handshakes=config.handshakes,
                handshake_timeout_s=config.handshake_timeout.total_seconds(),
                keepalive_s=config.keepalive.total_seconds(),
                live_after_expiry=LiveAfterExpiry(config.live_after_expiry),
            ),
            serves=await _serves(config),
            max_connections=config.max_connections,
            max_connections_per_address=config.max_connections_per_address,
            sockets=1 if config.app.target is None else 2,
        )


async def services_of(config: ServerConfig) -> tuple[Service, ...]:
    """Every service of a server.

    Raises:
        ConfigError: with each fault that stands in their way.
    """
    if not config.tunnel:
        return (await Service.of(config),)
    services: list[Service] = []
    faults: list[Fault] = []
    for number, tunnel in enumerate(config.tunnel, 1):
        place = f"tunnel[{number}]"
        try:
            services.append(await Service.of(tunnel, setting=f"{place}.listen"))
        except ConfigError as error:
            faults += [each.within(place) for each in error.faults]
    if faults:
        raise ConfigError(*faults)
    return tuple(services)


async def _serves(config: ServerConfig) -> Callable[[Acceptor, Observer], Serves]:
    if config.app.target is None:
        app = await app_of(config)
    else:
        reach = {
            "timeout_s": config.reach_timeout.total_seconds(),
            "keepalive_s": config.keepalive.total_seconds(),
        }
        if not config.session:
            handler = forward(config.app.target, **reach)
            return lambda acceptor, observer: StreamServer(handler, acceptor, observer=observer)
        app = forward_sessions(config.app.target, **reach)
    limits = limits_of(config)
    return lambda acceptor, observer: SessionServer(app, acceptor, limits=limits, observer=observer)
