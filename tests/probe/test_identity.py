"""What is made of a server's answers to somebody whom it must not let in."""

from __future__ import annotations

import ssl
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

import pytest

from asynctls.admission import Peer
from asynctls.errors import HandshakeError
from asynctls.probe.attack import Target, Verdict
from asynctls.probe.identity import ATTACKS
from asynctls.probe.relays import everybody, listening
from asynctls.session import ALPN
from asynctls.tls import Gate, Stream, server_context
from tests.attacks.certified import certified

if TYPE_CHECKING:
    import asyncio
    from contextlib import AbstractAsyncContextManager

    from asynctls.config import Address
    from asynctls.enrolment import Identity
    from asynctls.testing import CA

BY_NAME = {attack.name: attack for attack in ATTACKS}


def closing_on(first: int, server: Identity) -> AbstractAsyncContextManager[Address]:
    """Closes on so many clients without a word, and lets in whoever comes then."""
    clients = count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if next(clients) < first:
            writer.transport.abort()
            return
        with server.store.loadable() as (chain, key):
            context = server_context(chain=chain, key=key, trust=server.trust, alpn=[ALPN])
        with suppress(HandshakeError):
            stream = await Stream.accept(
                reader, writer, context, admit=everybody, gate=Gate(4), timeout_s=5
            )
            stream.abort()

    return listening(serve)


async def without_a_certificate(ca: CA, *, first: int) -> tuple[Verdict, str]:
    client, server = ca.identity("client"), ca.identity("server")
    async with closing_on(first, server) as address:
        target = Target(address, client, Peer.of(server.certificate), sessions=True)
        return await BY_NAME["no certificate"].run(target)


async def test_one_that_closes_on_a_stranger_has_withstood_if_it_serves_us(asynctls_ca: CA) -> None:
    verdict, answer = await without_a_certificate(asynctls_ca, first=1)
    assert (verdict, answer) == (Verdict.WITHSTOOD, "closed the connection")


async def test_of_one_that_closes_on_everybody_nobody_knows(asynctls_ca: CA) -> None:
    verdict, answer = await without_a_certificate(asynctls_ca, first=2)
    assert verdict is Verdict.NOT_TRIED
    assert answer.endswith("whoever comes, it closed the connection")


def hanging_up_on(first: int, server: Identity) -> AbstractAsyncContextManager[Address]:
    """Lets anyone through the handshake, and closes on so many after it, as nginx does."""
    clients = count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with server.store.loadable() as (chain, key):
            context = server_context(chain=chain, key=key, trust=server.trust, alpn=[])
        context.verify_mode = ssl.CERT_NONE
        stream = await Stream.accept(
            reader, writer, context, admit=everybody, gate=Gate(4), timeout_s=5
        )
        if next(clients) >= first:
            stream.write(b"hello")
        await stream.close()

    return listening(serve)


@pytest.mark.one_loop
@pytest.mark.parametrize(
    ("first", "expected"),
    [(1, Verdict.WITHSTOOD), (2, Verdict.NOT_TRIED), (0, Verdict.NOT_WITHSTOOD)],
)
async def test_one_that_hangs_up_after_the_handshake_has_refused_if_it_serves_us(
    asynctls_ca: CA, first: int, expected: Verdict
) -> None:
    client, server = asynctls_ca.identity("client"), asynctls_ca.identity("server")
    async with hanging_up_on(first, server) as address:
        target = Target(address, client, Peer.of(server.certificate), sessions=False)
        verdict, answer = await BY_NAME["self-signed certificate"].run(target)
    assert verdict is expected
    assert ("hung up after the handshake" in answer) is (first > 0)


@pytest.mark.one_loop
async def test_whom_a_server_does_not_let_in_at_all_is_not_revoked_to_see(asynctls_ca: CA) -> None:
    # Of another CA than the server's.
    async with certified() as its, closing_on(1, asynctls_ca.identity("server")) as at:
        verdict, answer = await BY_NAME["revoked certificate"].run(its.target(at))
        assert verdict is Verdict.NOT_TRIED
        assert answer == "it was not let in before it was revoked either: closed the connection"
