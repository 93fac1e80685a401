"""Servers that fall for a downgrade: each lacks the one defence that its attack is about.

OpenSSL can still be talked into most of it. What no library of today has is answered by hand: a
server that agrees to the first thing that it is offered.
"""

from __future__ import annotations

import ssl
import warnings
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.probe.hellos import Hello
from asynctls.probe.relays import everybody, listening
from asynctls.session import session
from asynctls.tls.closing import hang_up
from tests.attacks.openssl import OLD_AND_WEAK
from tests.attacks.victims import server_of, target_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from asynctls.probe.attack import Target
    from tests.attacks.world import World

__all__ = ["WITHOUT_DEFENCE"]

# Python has no names for these. OpenSSL 1.1.1 allows it without the first.
OP_ALLOW_CLIENT_RENEGOTIATION = 1 << 8
OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION = 1 << 18

_SERVER_HELLO = 2


@asynccontextmanager
async def lenient(
    world: World,
    *,
    ciphers: str = OLD_AND_WEAK,
    least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    anonymous: bool = False,
    options: int = 0,
) -> AsyncIterator[Target]:
    """OpenSSL, as weak as it can be: these suites, with an RSA key, these versions and options."""
    holder = world.holder("server", Profile.SERVER, key_type=KeyType.RSA_2048)
    server = replace(server_of(world, holder), admit=everybody)
    with warnings.catch_warnings():
        # That these versions are deprecated is the point.
        warnings.simplefilter("ignore", DeprecationWarning)
        server.context.minimum_version = least
        server.context.maximum_version = most
    server.context.set_ciphers(ciphers)
    server.context.options &= ~ssl.OP_NO_RENEGOTIATION
    server.context.options |= options
    if anonymous:
        # Where nobody proves who it is, a server must not even ask for a certificate.
        server.context.verify_mode = ssl.CERT_NONE
    async with server.serving() as served:
        yield target_of(world, served.address)


@asynccontextmanager
async def agreeing(world: World) -> AsyncIterator[Target]:
    """Takes the version, the first suite and the first compression method that it is offered."""

    async def agree(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await reader.readexactly(5)
        offered = Hello.read(header + await reader.readexactly(int.from_bytes(header[3:])))
        agreed = replace(
            offered,
            kind=_SERVER_HELLO,
            suites=offered.suites[:1],
            compressions=offered.compressions[:1],
            extensions={},
        )
        writer.write(agreed.record())
        await reader.read()
        await hang_up(writer)

    async with listening(agree) as address:
        yield target_of(world, address)


@asynccontextmanager
async def loosely_bound(world: World) -> AsyncIterator[Target]:
    """Our server, but that it asks nothing of the connection that a session is bound to."""
    server = server_of(world, world.holder("server", Profile.SERVER))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "require_binding", lambda *_channel, **_peer: None)
        async with server.serving() as served:
            yield target_of(world, served.address)


@asynccontextmanager
async def gone(world: World) -> AsyncIterator[Target]:
    """Where a server was."""
    async with agreeing(world) as target:
        pass
    yield target


WITHOUT_DEFENCE: Mapping[str, Callable[[World], AbstractAsyncContextManager[Target]]] = {
    "SSL 3.0 alone": agreeing,
    "TLS 1.0 alone": partial(lenient, least=ssl.TLSVersion.TLSv1),
    "TLS 1.1 alone": partial(lenient, least=ssl.TLSVersion.TLSv1_1),
    "TLS 1.3 alone": partial(lenient, most=ssl.TLSVersion.TLSv1_3),
    "TLS 1.2 stripped to 1.1": partial(lenient, least=ssl.TLSVersion.TLSv1_1),
    # OpenSSL has honoured the mark since 1.0.1.
    "TLS 1.2 stripped to 1.1, with TLS_FALLBACK_SCSV": agreeing,
    # Debian's OpenSSL has neither RC4 nor 3DES.
    "weak suites": agreeing,
    "CBC suites": lenient,
    "RSA key exchange": lenient,
    "NULL suites": lenient,
    "anonymous suites": partial(lenient, anonymous=True),
    "export suites": agreeing,
    "compression": agreeing,
    "secure renegotiation": partial(lenient, options=OP_ALLOW_CLIENT_RENEGOTIATION),
    # With the suite that the one above has not, for its keys are derived otherwise.
    "insecure renegotiation": partial(
        lenient,
        ciphers="ECDHE-RSA-AES128-GCM-SHA256",
        options=OP_ALLOW_CLIENT_RENEGOTIATION | OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION,
    ),
    "no extended master secret": loosely_bound,
    # The playbook's last row, whoever's attack it was that the server did not survive.
    "all of it together": gone,
}
