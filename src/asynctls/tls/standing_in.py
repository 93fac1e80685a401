"""A protocol of our own in the place of the streams', for a part of a connection's life.

An `asyncio.StreamReader` keeps what arrives until the task that waits for it has its turn. Where
what arrives can be dealt with at once, that is most of what it costs.
"""

from __future__ import annotations

import asyncio
from typing import Any

from asynctls.tls.pouring import at_hand

__all__ = ["StandIn"]


class StandIn(asyncio.Protocol):
    """Takes what arrives; the protocol beneath is still told of all else, so that the writer works.

    Args:
        reader: of the connection; nobody reads from it meanwhile.
        writer: likewise.
    """

    __slots__ = ("_beneath", "_reader", "_transport")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transport: Any = writer.transport
        self._reader = reader
        self._transport: asyncio.Transport = transport
        self._beneath: asyncio.Protocol = transport.get_protocol()

    def _step_in(self) -> list[bytes]:
        """From now on what arrives comes here; gives what lies in the reader, `b""` for an end."""
        self._transport.set_protocol(self)
        lying: list[bytes] = []
        # All at once: a reader that is emptied has its transport read on, whoever had it pause.
        while (found := at_hand(self._reader)) is not None:
            lying.append(found)
            if not found:
                break
        return lying

    def _step_out(self) -> None:
        """The reader gets what arrives from now on."""
        # One that closes brings nothing more but its loss, which is passed on; and where it was
        # lost before, uvloop has no protocol beneath.
        if not self._transport.is_closing() and self._transport.get_protocol() is self:
            self._transport.set_protocol(self._beneath)

    # What the transport says

    def eof_received(self) -> bool | None:
        """See `asyncio.Protocol`."""
        return self._beneath.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._beneath.connection_lost(exc)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._beneath.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._beneath.resume_writing()
