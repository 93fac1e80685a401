"""A service while it runs: another can take its place, and the connections that it has live on."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from asynctls.admission import StaleCRL
from asynctls.enrolment.standing import standing_watched
from asynctls.runtime import Connections, Services, listen, serve_until_stopped
from asynctls.runtime.observing import Observer
from asynctls.runtime.places import Places
from asynctls.server.accepting import Acceptor
from asynctls.server.services import services_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from asynctls.admission import Rules
    from asynctls.config import Address, ServerConfig
    from asynctls.enrolment.keeper import Keeper
    from asynctls.enrolment.standing import Live
    from asynctls.runtime import Reload, Take
    from asynctls.runtime.daemon import Told
    from asynctls.server.services import Service
    from asynctls.server.serving import Serves

__all__ = ["Running", "identity_anew", "running", "serve_services", "serving_alone"]


class Running:
    """What is done with the connections of one address, by the service of that moment.

    Whoever came by an earlier one goes on with its app and limits, and is judged by the latest
    allow list.
    """

    def __init__(self, keeper: Keeper, service: Service, observer: Observer) -> None:
        """Serves nothing yet.

        Args:
            keeper: our identity and the CRLs.
            service: the first one.
            observer: is told of handshakes and sessions.
        """
        self._observer = observer
        self._acceptor = Acceptor(keeper, service.terms, observer=observer)
        self._latest = service.serves(self._acceptor, observer)
        self._at_work: Counter[Serves] = Counter()
        self.places = Places(
            service.max_connections,
            per_address=service.max_connections_per_address,
            sockets=service.sockets,
        )

    @property
    def live(self) -> Iterable[Live]:
        """The connections whose peers are judged again when there is news."""
        return chain.from_iterable(each.live for each in self._at_work)

    def rules(self) -> Rules:
        """What peers are held against at this moment."""
        return self._acceptor.rules()

    @property
    def idle(self) -> bool:
        """Whether it has no connection."""
        return not self._at_work

    def take(self, service: Service) -> None:
        """Whoever comes from now on is served by this one."""
        self._acceptor.take(service.terms)
        self._latest = service.serves(self._acceptor, self._observer)
        self.places.change(
            service.max_connections,
            per_address=service.max_connections_per_address,
            sockets=service.sockets,
        )

    def go_away(self) -> None:
        """Tells every peer that we drain, where its protocol has a word for it."""
        for each in {self._latest, *self._at_work}:
            each.go_away()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection to its end."""
        serves = self._latest
        self._at_work[serves] += 1
        try:
            await serves.serve(reader, writer)
        finally:
            self._at_work[serves] -= 1
            if not self._at_work[serves]:
                del self._at_work[serves]


@asynccontextmanager
async def running(
    service: Service, keeper: Keeper, *, observer: Observer | None = None
) -> AsyncIterator[Running]:
    """Has a service run while the context lasts, and its live peers judged whenever there is news.

    Args:
        service: the first one.
        keeper: our identity and the CRLs.
        observer: is told of handshakes and sessions.
    """
    runs = Running(keeper, service, observer or Observer())
    async with standing_watched(keeper, lambda: runs.live, runs.rules):
        yield runs


@asynccontextmanager
async def serving_alone(
    service: Service, keeper: Keeper, *, drain_s: float
) -> AsyncIterator[Address]:
    """Serves a program's one service while the context lasts; gives the address as it really is.

    Args:
        service: the only one.
        keeper: our identity and the CRLs.
        drain_s: how long live connections may go on at the end of the context, in seconds.

    Raises:
        CertificateError: the identity's key and certificate cannot be used.
        ConfigError: the address cannot be listened on.
    """
    # See `service.run`.
    await keeper.server_credentials(alpn=service.terms.alpn)
    async with (
        Connections() as connections,
        running(service, keeper) as runs,
        listen(
            service.listen, connections.served_by(runs.serve, places=runs.places), role="server"
        ) as listener,
    ):
        try:
            yield listener.address
        finally:
            if drain_s > 0:
                listener.close()
                runs.go_away()
                await connections.drain(drain_s)


async def serve_services(
    reload: Reload[ServerConfig],
    services: Iterable[Service],
    keeper: Keeper,
    told: Told,
    observer: Observer,
    *,
    then: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serves a daemon's services until it is told to stop.

    Args:
        reload: has the config in force; it can be reloaded once they are served.
        services: one at each address, as that config describes them.
        keeper: our identity and the CRLs.
        told: whence we hear that we are to stop.
        observer: is told of handshakes and sessions.
        then: awaited after each reload.

    Raises:
        ConfigError: an address cannot be listened on.
    """
    async with (
        Connections(observer=observer) as connections,
        Services(
            connections, partial(running, keeper=keeper, observer=observer), role="server"
        ) as listening,
    ):
        async with listening.changing(services) as take:
            take()

        @asynccontextmanager
        async def what_is_served(config: ServerConfig) -> AsyncIterator[Take]:
            async with listening.changing(await services_of(config)) as take:
                yield take

        reload.started(partial(identity_anew, keeper), what_is_served, then=then)
        await serve_until_stopped(
            told,
            listening,
            connections,
            drain=lambda: reload.config.drain,
            on_drain=listening.go_away,
        )


def identity_anew(keeper: Keeper, config: ServerConfig) -> AbstractAsyncContextManager[Take]:
    """What a reload wants of a server's keeper."""
    return keeper.reloading(crl_interval=config.crl_interval, stale_crl=StaleCRL(config.stale_crl))
