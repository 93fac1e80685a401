"""How a daemon lives: it holds its state folder, serves until it is told to stop, and drains."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from asynctls.state import FolderLock, make_private_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta
    from pathlib import Path

    from asynctls.runtime.connections import Connections
    from asynctls.runtime.listening import Listener
    from asynctls.runtime.signals import Signals

__all__ = ["hold_state_folder", "serve_until_stopped"]

log = structlog.get_logger()


@asynccontextmanager
async def hold_state_folder(folder: Path) -> AsyncIterator[None]:
    """Makes the state folder where it is missing, and keeps every other daemon off it.

    Raises:
        StateError: when the folder cannot be used; StateLockedError: when another one holds it.
    """
    await asyncio.to_thread(make_private_folder, folder)
    lock = FolderLock(folder)
    await asyncio.to_thread(lock.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(lock.__exit__, None, None, None)


async def serve_until_stopped(
    signals: Signals, listener: Listener, connections: Connections, *, drain: timedelta
) -> None:
    """Waits for the signal to stop; then takes no more connections and lets the live ones end.

    A second signal cuts them off at once, as the end of the drain does.
    """
    await signals.stopping.wait()
    listener.close()
    if connections.live:
        log.info("draining", connections=connections.live, at_most_s=drain.total_seconds())
    cut = asyncio.create_task(_abort_on(signals.aborting, connections))
    try:
        await connections.drain(drain.total_seconds())
    finally:
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
    log.info("stopped")


async def _abort_on(aborting: asyncio.Event, connections: Connections) -> None:
    await aborting.wait()
    connections.abort()
