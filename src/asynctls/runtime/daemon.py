"""How a daemon ends: it serves until it is told to stop, and drains."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from asynctls.logger import get_logger
from asynctls.runtime.inherited import inherited_sockets

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from asynctls.runtime.connections import Connections

__all__ = ["serve_until_stopped"]

log = get_logger()


class Told(Protocol):
    """Whence a daemon hears that it is to end: `Signals`, a worker's `Orders`."""

    @property
    def stopping(self) -> asyncio.Event:
        """Set when it is to drain."""

    @property
    def aborting(self) -> asyncio.Event:
        """Set when it is to end at once."""

    def ready(self, status: str) -> None:
        """The daemon does its work now."""


class Closes(Protocol):
    """What is listened on: a `Listener`, a `UnixListener`, all of `Services`."""

    def close(self) -> None:
        """Stops accepting; connections that are there live on."""


async def serve_until_stopped(
    signals: Told,
    listener: Closes,
    connections: Connections,
    *,
    drain: Callable[[], timedelta],
    on_drain: Callable[[], None] | None = None,
) -> None:
    """Says that it serves, and waits for the signal to stop.

    Then it takes no more connections and lets the live ones end. A second signal
    cuts them off at once, as the end of the drain does.

    Args:
        signals: what to wait for.
        listener: closed at the first signal.
        connections: those that are left to end.
        drain: how long they may take, asked for when it begins: a reload can change it.
        on_drain: tells the peers of a protocol that has a word for it.

    Raises:
        ConfigError: a socket was handed over to the process that nothing here listens on.
    """
    inherited_sockets().check_all_taken()
    signals.ready("serving")
    await signals.stopping.wait()
    listener.close()
    if on_drain is not None:
        on_drain()
    drain_s = drain().total_seconds()
    if connections.live:
        log.info("draining", connections=connections.live, at_most_s=drain_s)
    cut = asyncio.create_task(_abort_on(signals.aborting, connections))
    try:
        await connections.drain(drain_s)
    finally:
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
    log.info("stopped")


async def _abort_on(aborting: asyncio.Event, connections: Connections) -> None:
    await aborting.wait()
    connections.abort()
