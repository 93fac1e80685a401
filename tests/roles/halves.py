"""Both halves of a tunnel in this process, around whatever program a test has."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import structs

from asynctls.client.tunnel import Tunnel, tunnels_of
from asynctls.config import Address, AppChoice, ClientConfig, Endpoint, ServerConfig
from asynctls.enrolment import Keeper
from asynctls.runtime import Connections, listen
from asynctls.runtime.observing import Observer
from asynctls.server.running import serving_alone
from asynctls.server.services import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asynctls.config.alike import LiveAfterExpiryName
    from asynctls.enrolment import Identity

__all__ = ["Halves", "Way", "halves"]

Way: TypeAlias = Literal["plain", "session"]

ANY_PORT = "127.0.0.1:0"
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Halves:
    """A tunnel that runs: where programs find it, and what its two ends know.

    ``take`` has the client's half go on by other settings (given by name), as a reload does.
    """

    where: str
    server: Keeper
    client: Keeper
    take: Callable[..., None]


@asynccontextmanager
async def halves(
    server: Identity,
    client: Identity,
    target: str,
    *,
    way: Way,
    client_way: Way | None = None,
    live_after_expiry: LiveAfterExpiryName = "end",
    reach_timeout: timedelta = timedelta(seconds=10),
    max_connections: int | None = None,
) -> AsyncIterator[Halves]:
    """A tunnel to ``target``, with sessions or without; the client's half can have its own way.

    ``max_connections`` is the client's half's.
    """
    at_server = ServerConfig(
        listen=Address.parse(ANY_PORT),
        allow=("client",),
        app=AppChoice.parse(f"forward:{target}"),
        session=way == "session",
        live_after_expiry=live_after_expiry,
        reach_timeout=reach_timeout,
    )
    service = await Service.of(at_server)
    async with (
        Keeper(server, crl_interval=HOUR) as keeper,
        serving_alone(service, keeper, drain_s=0) as address,
        Keeper(client, crl_interval=HOUR) as other,
        Connections() as connections,
    ):
        at_client = ClientConfig(
            connect=address,
            server_name="server",
            session=(client_way or way) == "session",
            live_after_expiry=live_after_expiry,
            listen=Endpoint.parse(ANY_PORT),
            max_connections=max_connections,
        )
        (service_at_client,) = tunnels_of(at_client)
        tunnel = Tunnel(service_at_client, keeper=other, observer=Observer())

        def take(**settings: object) -> None:
            (changed,) = tunnels_of(structs.replace(at_client, **settings))
            tunnel.take(changed)

        accept = connections.served_by(tunnel.serve, places=tunnel.places)
        async with listen(Address.parse(ANY_PORT), accept, role="client") as listener:
            yield Halves(str(listener.address), keeper, other, take)
