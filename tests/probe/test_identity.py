"""What is made of a server's answers to somebody whom it must not let in."""

from __future__ import annotations

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


@pytest.mark.one_loop
async def test_whom_a_server_does_not_let_in_at_all_is_not_revoked_to_see(asynctls_ca: CA) -> None:
    # Of another CA than the server's.
    async with certified() as its, closing_on(1, asynctls_ca.identity("server")) as at:
        verdict, answer = await BY_NAME["revoked certificate"].run(its.target(at))
        assert verdict is Verdict.NOT_TRIED
        assert answer == "it was not let in before it was revoked either: closed the connection"
