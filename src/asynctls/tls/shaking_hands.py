"""A handshake as coroutines: its time, its place among others, and what ends it ends all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from asynctls.errors import HandshakeError, HandshakeTimeoutError, PeerRefusedError
from asynctls.tls import gate as places
from asynctls.tls.closing import hang_up, linger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from asynctls.tls.engine import Engine
    from asynctls.tls.gate import Gate

__all__ = ["flush", "guarded", "shake_hands", "shake_hands_briefly"]

_CHUNK_BYTES = 1 << 16

# Past these the peer is gone, or would not understand an alert; any other failure has sent one.
_NOTHING_TO_TELL = (HandshakeError, asyncio.CancelledError, KeyboardInterrupt, SystemExit)

_Established = TypeVar("_Established")


async def guarded(
    shake: Coroutine[object, object, _Established],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    gate: Gate | None,
    timeout_s: float,
) -> _Established:
    """Run a handshake within its time; whatever else ends it also ends the connection."""
    try:
        async with asyncio.timeout(timeout_s) as limit:
            return await shake
    except OSError as error:
        await hang_up(writer)
        if limit.expired():
            raise HandshakeTimeoutError(
                f"the handshake was not done within {timeout_s:g} s"
            ) from error
        raise HandshakeError(
            f"the connection was lost during the handshake ({error.strerror or error})"
        ) from error
    except BaseException as error:
        if isinstance(error, PeerRefusedError) or not isinstance(error, _NOTHING_TO_TELL):
            await linger(reader, writer, gate)
        else:
            await hang_up(writer)
        raise


async def shake_hands(
    engine: Engine,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    on_flight: Callable[[Engine], None] | None = None,
) -> None:
    """Go on with a handshake until it is done; `on_flight` is called whenever a flight has left."""
    while True:
        try:
            done = engine.handshake()
        finally:
            sent = flush(engine, writer)
        if sent and on_flight is not None:
            on_flight(engine)
        if done:
            return
        engine.receive_data(await reader.read(_CHUNK_BYTES))


async def shake_hands_briefly(
    engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Go on with a handshake for `PLACE_S`; false when it is not done by then."""
    try:
        async with asyncio.timeout(places.PLACE_S) as limit:
            await shake_hands(engine, reader, writer)
    except TimeoutError:
        # One of the system's own (ETIMEDOUT) is the connection's end.
        if not limit.expired():
            raise
        return False
    return True


def flush(engine: Engine, writer: asyncio.StreamWriter) -> bool:
    """Hand what is to be sent to the writer; false where there is nothing, or nobody."""
    flight = engine.data_to_send()
    if not flight or writer.transport.is_closing():
        return False
    writer.write(flight)
    return True
