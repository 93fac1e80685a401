"""Every connection of a listener: one task each, none of which can end another, all of them owned.

The border round each one is the only place where any exception is caught: whatever a peer can
bring about ends its own connection, with one event in the log.
"""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING

from asynctls.errors import AsynctlsError
from asynctls.logger import get_logger
from asynctls.runtime.sparing import Sparing
from asynctls.tls import address_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

__all__ = ["Connections"]

log = get_logger()

# What the process needs besides: ledger, logs, files that are read, connections to a TTP.
_DESCRIPTORS_KEPT = 64
_MOST = 100_000
_CLOSE_S = 2.0


class Connections:
    """Owns a task for each live connection; a context that ends when the last one has.

    Leaving the context cancels what is still live: ``drain`` first to let it end by itself.
    """

    def __init__(self, handle: Handle, *, limit: int | None = None) -> None:
        """Takes the coroutine that serves one connection.

        Args:
            handle: called with reader and writer; the writer is closed when it returns.
            limit: connections at once; further ones are closed. None: as many as there can be
                open files, less what else the process needs.
        """
        self._handle = handle
        self._limit = _descriptor_limit() if limit is None else limit
        self._tasks = asyncio.TaskGroup()
        self._live: set[asyncio.Task[None]] = set()
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

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes a new connection: the callback of ``asyncio.start_server``."""
        if not self._accepting:
            writer.transport.abort()
            return
        if len(self._live) >= self._limit:
            writer.transport.abort()
            left_out = self._sparing.left_out("connection not taken")
            if left_out is not None:
                address = address_of(writer)
                log.warning(
                    "connection not taken", address=address, limit=self._limit, left_out=left_out
                )
            return
        task = self._tasks.create_task(self._serve(reader, writer))
        self._live.add(task)
        task.add_done_callback(self._live.discard)

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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = address_of(writer)
        try:
            await self._handle(reader, writer)
        except (AsynctlsError, ConnectionError, TimeoutError) as error:
            # Known by name: a peer that goes away, a frame that is none. No traceback.
            log.warning("connection failed", address=address, error=error)
        except Exception:
            log.exception("connection failed", address=address)
        finally:
            await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Sends what is still to be sent, if the peer takes it; the socket is closed in any case."""
    writer.close()
    try:
        async with asyncio.timeout(_CLOSE_S):
            await writer.wait_closed()
    except OSError:
        # The peer is gone already, or (TimeoutError is one too) does not read.
        pass
    finally:
        writer.transport.abort()


def _descriptor_limit() -> int:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return max(1, min(soft - _DESCRIPTORS_KEPT, _MOST))
