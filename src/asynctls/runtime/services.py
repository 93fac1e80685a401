"""The services of a role: one at each address, which can change, come and go while it runs.

What they are is the role's own. They share its connections, so that they drain together.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec

from asynctls.runtime.unix_listening import listen_at

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from typing import Self

    from asynctls.config import Address
    from asynctls.runtime.connections import Connections
    from asynctls.runtime.daemon import Closes
    from asynctls.runtime.places import Places

__all__ = ["HasAddress", "Runs", "Services"]

ServiceT = TypeVar("ServiceT", bound="HasAddress")
TakenT_contra = TypeVar("TakenT_contra", contravariant=True)


class HasAddress(Protocol):
    """A service, as a value."""

    @property
    def listen(self) -> Address | Path:
        """Where it is to be had: a TCP address, or the path of a UNIX socket."""

    @property
    def setting(self) -> str:
        """The key of ``listen`` within the role's table."""


class Runs(Protocol[TakenT_contra]):
    """A service while it runs."""

    @property
    def places(self) -> Places:
        """For its connections."""

    @property
    def idle(self) -> bool:
        """Whether it has no connection."""

    def take(self, service: TakenT_contra, /) -> None:
        """Another service has taken its place, for whoever comes from now on."""

    def go_away(self) -> None:
        """Tells every peer that we drain, where its protocol has a word for it."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, /) -> None:
        """Serves one connection to its end."""


class _Running(msgspec.Struct, Generic[ServiceT], frozen=True):
    runs: Runs[ServiceT]
    listener: Closes
    ending: AsyncExitStack


class Services(Generic[ServiceT]):
    """Listens for each service of a role; an async context manager, which ends them all."""

    def __init__(
        self,
        connections: Connections,
        start: Callable[[ServiceT], AbstractAsyncContextManager[Runs[ServiceT]]],
        *,
        role: str,
    ) -> None:
        """Listens nowhere yet.

        Args:
            connections: own what comes in.
            start: what has a service run, until nobody comes any more and the last is gone.
            role: for the log, and the table of the config that a fault names.
        """
        self._connections = connections
        self._start = start
        self._role = role
        self._running: dict[tuple[Address | Path, int], _Running[ServiceT]] = {}
        self._left: list[_Running[ServiceT]] = []
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        async with AsyncExitStack() as all_of_them:
            for each in (*self._left, *self._running.values()):
                all_of_them.push_async_callback(each.ending.aclose)

    @asynccontextmanager
    async def changing(self, services: Iterable[ServiceT]) -> AsyncIterator[Callable[[], None]]:
        """Listens for those of the services whose addresses are new; else nothing changes yet.

        Returns:
            What has all of them take the place of those that run, while the context lasts: whose
            address is none any more stops listening, and its connections go on to their end.

        Raises:
            ConfigError: one address cannot be listened on.
        """
        # Not as soon as they have left: what was accepted just before may not be theirs yet.
        await self._end_those_that_left()
        wanted = _by_address(services)
        new: dict[tuple[Address | Path, int], _Running[ServiceT]] = {}
        async with AsyncExitStack() as opened:
            for where, service in wanted.items():
                if where not in self._running:
                    new[where] = await self._open(service)
                    opened.push_async_callback(new[where].ending.aclose)

            def take() -> None:
                opened.pop_all()
                for where, running in self._running.items():
                    if where in wanted:
                        new[where] = running
                        running.runs.take(wanted[where])
                    else:
                        running.listener.close()
                        self._left.append(running)
                self._running = {where: new[where] for where in wanted}
                if self._closed:
                    self.close()

            yield take

    def close(self) -> None:
        """Stops accepting, for good; connections that are there live on."""
        self._closed = True
        for each in self._running.values():
            each.listener.close()

    def go_away(self) -> None:
        """Tells every peer that we drain, where its protocol has a word for it."""
        for each in (*self._left, *self._running.values()):
            each.runs.go_away()

    async def _open(self, service: ServiceT) -> _Running[ServiceT]:
        async with AsyncExitStack() as stack:
            runs = await stack.enter_async_context(self._start(service))
            accept = self._connections.served_by(runs.serve, places=runs.places)
            listener = await stack.enter_async_context(
                listen_at(service.listen, accept, role=self._role, setting=service.setting)
            )
            ending = stack.pop_all()
        return _Running(runs, listener, ending)

    async def _end_those_that_left(self) -> None:
        idle = [each for each in self._left if each.runs.idle]
        self._left = [each for each in self._left if each not in idle]
        for each in idle:
            await each.ending.aclose()


def _by_address(services: Iterable[ServiceT]) -> dict[tuple[Address | Path, int], ServiceT]:
    """Each service by its address; port 0 can be asked for more than once."""
    seen: Counter[Address | Path] = Counter()
    found = {}
    for service in services:
        found[service.listen, seen[service.listen]] = service
        seen[service.listen] += 1
    return found
