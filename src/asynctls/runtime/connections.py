"""Every connection of a role: one task each, none of which can end another, all of them owned.

The border round each one is the only place where any exception is caught: whatever a peer can
bring about ends its own connection, with one event in the log.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from asynctls.errors import AsynctlsError
from asynctls.logger import get_logger
from asynctls.runtime.observing import Observer
from asynctls.runtime.places import Limit, Places
from asynctls.runtime.sparing import Sparing
from asynctls.tls import address_of, network_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from asynctls.runtime.listening import Accept

    Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

__all__ = ["Connections"]

log = get_logger()

_CLOSE_S = 2.0
_ADVICE = {
    Limit.IN_ALL: "find out who has them all; max_connections is the setting for a service's",
    Limit.PER_ADDRESS: (
        "if many peers share the address (a NAT, a balancer), raise max_connections_per_address"
    ),
    Limit.OPEN_FILES: "raise the limit on open files (systemd: LimitNOFILE=, else: ulimit -n)",
}


class Connections:
    """Owns a task for each live connection; a context that ends when the last one has.

    Leaving the context cancels what is still live: ``drain`` first to let it end by itself.
    """

    def __init__(self, *, observer: Observer | None = None) -> None:
        """Has none yet.

        Args:
            observer: is told of those that found no place.
        """
        self._observer = observer or Observer()
        self._tasks = asyncio.TaskGroup()
        self._live: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, Places, str | None]] = {}
        self._accepting = False
        self._sparing = Sparing()

    @property
    def live(self) -> int:
        """How many connections there are now."""
        return len(self._live)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._accepting = True
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()
        # Not told of the body's exception, which it would wrap in a group: no connection's own
        # ever gets here, so the one that goes on is the body's as it is.
        await self._tasks.__aexit__(None, None, None)

    def served_by(self, handle: Handle, *, places: Places | None = None) -> Accept:
        """What takes the connections of one listener: a callback for ``asyncio.start_server``.

        Args:
            handle: called with reader and writer; the writer is closed when it returns.
            places: for them; those that find none are closed at once. None: as many as open files
                allow.
        """
        return partial(self._accept, handle, places or Places())

    def _accept(
        self,
        handle: Handle,
        places: Places,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if not self._accepting:
            writer.transport.abort()
            return
        network = network_of(writer)
        limit = places.take(network)
        if limit is not None:
            writer.transport.abort()
            self._not_taken(writer, limit, places.most(limit))
            return
        task = self._tasks.create_task(self._serve(handle, reader, writer))
        self._live[task] = writer, places, network
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        writer, places, network = self._live.pop(task)
        places.leave(network)
        # Nothing has run of a task that was cancelled before it began.
        writer.transport.abort()

    def _not_taken(self, writer: asyncio.StreamWriter, limit: Limit, most: int) -> None:
        self._observer.connection_not_taken(limit)
        left_out = self._sparing.left_out(limit)
        if left_out is not None:
            log.warning(
                "connection not taken",
                address=address_of(writer),
                limit=limit.value,
                most=most,
                advice=_ADVICE[limit],
                left_out=left_out,
            )

    async def drain(self, timeout_s: float) -> None:
        """Takes no more, waits for the live ones to end, and cancels those that last too long."""
        self._accepting = False
        if self._live and timeout_s > 0:
            await asyncio.wait(self._live, timeout=timeout_s)
        if self._live:
            log.warning("connections cut off", count=len(self._live), after_s=timeout_s)
        self.abort()
        if self._live:
            await asyncio.wait(self._live)

    def abort(self) -> None:
        """Takes no more and cancels the live ones; ``drain``, or leaving, awaits their end."""
        self._accepting = False
        for task in self._live:
            task.cancel()

    async def _serve(
        self, handle: Handle, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await handle(reader, writer)
        except (AsynctlsError, ConnectionError, TimeoutError) as error:
            # Known by name: a peer that goes away, a frame that is none. No traceback.
            log.warning("connection failed", address=address_of(writer), error=error)
        except Exception:
            log.exception("connection failed", address=address_of(writer))
        finally:
            await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Sends what is still to be sent, if the peer takes it, and closes the socket."""
    # The peer is gone already or does not read (TimeoutError), or whatever else the transport was
    # lost by, as for want of memory while it read. Whoever read from it has been told; here it
    # would end all other connections.
    with suppress(Exception):
        if writer.transport.get_write_buffer_size():
            writer.close()
            async with asyncio.timeout(_CLOSE_S):
                await writer.wait_closed()
        else:
            writer.transport.abort()
            await writer.wait_closed()
