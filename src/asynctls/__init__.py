"""A private CA, identities that look after themselves, mutual TLS 1.2, authenticated messages.

The library's face, loaded when it is asked for (PEP 562), so that ``import asynctls`` is quick::

    async with asynctls.connect("127.0.0.1:8443", identity="state/") as session:
        print(await session.receive())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from asynctls._version import __version__

if TYPE_CHECKING:
    from asynctls.client import connect, open_stream
    from asynctls.enrolment import Identity
    from asynctls.enrolment.library import join
    from asynctls.errors import AsynctlsError, SessionError
    from asynctls.server.library import serve, serve_streams, serving, serving_streams
    from asynctls.session import Limits, Session
    from asynctls.streams import PeerStream
    from asynctls.ttp.library import Authority

__all__ = [
    "AsynctlsError",
    "Authority",
    "Identity",
    "Limits",
    "PeerStream",
    "Session",
    "SessionError",
    "__version__",
    "connect",
    "join",
    "open_stream",
    "serve",
    "serve_streams",
    "serving",
    "serving_streams",
]

_ROOMS = {
    "AsynctlsError": "asynctls.errors",
    "Authority": "asynctls.ttp.library",
    "Identity": "asynctls.enrolment",
    "Limits": "asynctls.session",
    "PeerStream": "asynctls.streams",
    "Session": "asynctls.session",
    "SessionError": "asynctls.errors",
    "connect": "asynctls.client",
    "join": "asynctls.enrolment.library",
    "open_stream": "asynctls.client",
    "serve": "asynctls.server",
    "serve_streams": "asynctls.server",
    "serving": "asynctls.server.library",
    "serving_streams": "asynctls.server.library",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
