"""A server and a client of it, in this process, over loopback: sessions, or plain streams."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asynctls.client import connect, open_stream
from asynctls.server.library import serving, serving_streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asynctls.enrolment import Identity
    from asynctls.server import App, StreamHandler
    from asynctls.session import Session
    from asynctls.streams import PeerStream
    from asynctls.testing.authority import CA

__all__ = ["Pair", "StreamPair", "pair", "stream_pair"]

_ANY_PORT = "127.0.0.1:0"


@dataclass(frozen=True, slots=True)
class Pair:
    """A session with a server that runs beside it.

    Attributes:
        session: the client's end.
        address: the server's, ``HOST:PORT``, for more clients of the test's own.
        server: the server's identity, whose name is ``server``.
        client: the client's, whose name is ``client``.
    """

    session: Session
    address: str
    server: Identity
    client: Identity


@dataclass(frozen=True, slots=True)
class StreamPair:
    """A plain mutual-TLS stream to a server that runs beside it; else as `Pair`."""

    stream: PeerStream
    address: str
    server: Identity
    client: Identity


@asynccontextmanager
async def pair(ca: CA, app: App) -> AsyncIterator[Pair]:
    """Serves ``app`` and opens a session with it, while the context lasts.

    Args:
        ca: issues both identities.
        app: a coroutine function that takes the server's `Session`. Whom else the CA issued a
            certificate is let in as well.
    """
    server, client = ca.identity("server"), ca.identity("client")
    async with serving(app, _ANY_PORT, identity=server, allow=["any"]) as address:
        where = str(address)
        async with connect(where, server_name=server.name, identity=client) as session:
            yield Pair(session, where, server, client)


@asynccontextmanager
async def stream_pair(ca: CA, handler: StreamHandler) -> AsyncIterator[StreamPair]:
    """Serves ``handler`` and opens a stream to it, while the context lasts.

    Args:
        ca: issues both identities.
        handler: a coroutine function that takes the server's `PeerStream`.
    """
    server, client = ca.identity("server"), ca.identity("client")
    async with serving_streams(handler, _ANY_PORT, identity=server, allow=["any"]) as address:
        where = str(address)
        async with open_stream(where, server_name=server.name, identity=client) as stream:
            yield StreamPair(stream, where, server, client)
