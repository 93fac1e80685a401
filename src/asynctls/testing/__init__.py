"""For the tests of programs that use asynctls: a CA, identities and running pairs, in milliseconds.

pytest finds the fixtures by itself (``asynctls.testing.plugin``) wherever asynctls is installed::

    async def greet(session):
        await session.send(b"hello " + session.peer.name.encode())

    async def test_greeting(asynctls_pair):
        async with asynctls_pair(greet) as pair:
            assert await pair.session.receive() == b"hello client"

All is real but the TTP: keys, certificates, CRLs, TLS over loopback. Nothing of it is for use
outside of tests. Other frameworks than pytest use `CA`, `pair` and `stream_pair` directly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynctls.testing.authority import CA
    from asynctls.testing.pairs import Pair, StreamPair, pair, stream_pair

__all__ = ["CA", "Pair", "StreamPair", "pair", "stream_pair"]

# Loaded when asked for: pytest imports this package in every run, wherever asynctls is installed.
_ROOMS = {
    "CA": "asynctls.testing.authority",
    "Pair": "asynctls.testing.pairs",
    "StreamPair": "asynctls.testing.pairs",
    "pair": "asynctls.testing.pairs",
    "stream_pair": "asynctls.testing.pairs",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
