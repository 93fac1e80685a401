"""What is made of a server that neither agrees nor refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from asynctls.admission import Peer
from asynctls.probe.attack import Target, Verdict
from asynctls.probe.downgrade import ATTACKS
from asynctls.probe.hellos import Hello
from asynctls.probe.relays import listening
from asynctls.probe.suites import STRONG

if TYPE_CHECKING:
    import asyncio
    from contextlib import AbstractAsyncContextManager

    from asynctls.config import Address
    from asynctls.testing import CA

EXPORT_SUITES = next(attack for attack in ATTACKS if attack.name == "export suites")


def closing(*, on_everything: bool) -> AbstractAsyncContextManager[Address]:
    """Closes on weak suites without a word; or on any."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await reader.readexactly(5)
        hello = Hello.read(header + await reader.readexactly(int.from_bytes(header[3:])))
        if not on_everything and STRONG.keys() & set(hello.suites):
            agreed = replace(hello, kind=2, suites=[0xC02B], compressions=b"\0", extensions={})
            writer.write(agreed.record())
            await reader.read()
        writer.close()
        await writer.wait_closed()

    return listening(serve)


async def tried_on(ca: CA, *, on_everything: bool) -> tuple[Verdict, str]:
    client, server = ca.identity("client"), ca.identity("server")
    async with closing(on_everything=on_everything) as address:
        target = Target(address, client, Peer.of(server.certificate), sessions=True)
        return await EXPORT_SUITES.run(target)


async def test_one_that_closes_has_withstood_if_it_would_have_agreed_to_better(
    asynctls_ca: CA,
) -> None:
    verdict, answer = await tried_on(asynctls_ca, on_everything=False)
    assert (verdict, answer) == (Verdict.WITHSTOOD, "closed the connection")


async def test_of_one_that_closes_whatever_is_offered_nobody_knows(asynctls_ca: CA) -> None:
    verdict, answer = await tried_on(asynctls_ca, on_everything=True)
    assert verdict is Verdict.NOT_TRIED
    assert answer.endswith("whatever is offered, it closed the connection")
