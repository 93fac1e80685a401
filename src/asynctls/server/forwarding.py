"""The server's end of a tunnel: each admitted stream is carried to a program that speaks no TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from asynctls.errors import ServerUnreachableError
from asynctls.runtime.carrying import carry, carry_session
from asynctls.tls import PlainStream, open_tcp

if TYPE_CHECKING:
    from asynctls.config import Endpoint
    from asynctls.server.apps import App
    from asynctls.server.streams import StreamHandler
    from asynctls.session import Session
    from asynctls.streams import PeerStream

__all__ = ["forward", "forward_sessions"]


def forward(target: Endpoint, *, timeout_s: float, keepalive_s: float) -> StreamHandler:
    """A handler that connects to ``target`` for each stream, and carries both ways to the ends.

    Args:
        target: a TCP address, or the path of a UNIX socket.
        timeout_s: how long connecting to it may take.
        keepalive_s: how long it may be silent to TCP before it counts as dead.
    """

    async def forwarded(stream: PeerStream) -> None:
        await carry(stream, await _open(target, timeout_s, keepalive_s))

    return forwarded


def forward_sessions(target: Endpoint, *, timeout_s: float, keepalive_s: float) -> App:
    """As `forward`, an app for tunnels whose connections have a session each."""

    async def forwarded(session: Session) -> None:
        await carry_session(session, await _open(target, timeout_s, keepalive_s))

    return forwarded


async def _open(target: Endpoint, timeout_s: float, keepalive_s: float) -> PlainStream:
    try:
        async with asyncio.timeout(timeout_s):
            if isinstance(target.where, Path):
                streams = await asyncio.open_unix_connection(target.where)
            else:
                streams = await open_tcp(target.where)
    except OSError as error:
        reason = error.strerror or str(error) or f"no answer within {timeout_s:g} s"
        raise ServerUnreachableError(
            f"what is forwarded to, {target}, cannot be reached: {reason}"
        ) from error
    return PlainStream(*streams, keepalive_s=keepalive_s)
