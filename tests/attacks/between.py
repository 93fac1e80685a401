"""Mallory between two victims, with two certificates of hers: what she shows to either.

`forwarding_frames` passes the session's bytes on; `speaking_for_both` speaks the session protocol
on both legs. `passing_on` is for who has no certificate: it passes on what TCP brings.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

from asynctls.admission import Peer
from asynctls.probe.relays import Carry, EndingTLS, as_it_is, ending_tls
from asynctls.session import ALPN, Session
from asynctls.tls import client_context_for_any_host, server_context

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from asynctls.config import Address
    from asynctls.tls import Stream
    from tests.attacks.world import Holder, World

__all__ = ["forwarding_frames", "passing_on", "speaking_for_both"]


async def passing_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to: Address
) -> None:
    """Brings every byte of one connection to an address, and back."""

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(1 << 16):
                sink.write(piece)
        sink.close()

    further_reader, further_writer = await asyncio.open_connection(to.host, to.port)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(carry(reader, further_writer))
            both.create_task(carry(further_reader, writer))
    finally:
        further_writer.transport.abort()


def forwarding_frames(
    to: Address, *, world: World, towards_client: Holder, towards_server: Holder
) -> AbstractAsyncContextManager[EndingTLS]:
    """She forwards the session's bytes unchanged, reading along."""
    return _between(to, as_it_is, world, towards_client, towards_server)


def speaking_for_both(
    to: Address, *, world: World, towards_client: Holder, towards_server: Holder
) -> AbstractAsyncContextManager[EndingTLS]:
    """She is a server to the client and a client to the server, with a session for each."""

    async def message_by_message(relay: EndingTLS, client: Stream, server: Stream) -> None:
        assert client.peer_certificate is not None
        assert server.peer_certificate is not None

        async def forward(source: Session, sink: Session) -> None:
            async for message in source:
                relay.read += message
                await sink.send(message)
            await sink.finish_sending()

        async with (
            Session.accept(
                client,
                own_certificate=towards_client.certificate,
                peer=Peer.of(client.peer_certificate),
            ) as with_client,
            Session.connect(
                server,
                own_certificate=towards_server.certificate,
                peer=Peer.of(server.peer_certificate),
            ) as with_server,
            asyncio.TaskGroup() as both,
        ):
            both.create_task(forward(with_client, with_server))
            both.create_task(forward(with_server, with_client))

    return _between(to, message_by_message, world, towards_client, towards_server)


def _between(
    to: Address, carry: Carry, world: World, towards_client: Holder, towards_server: Holder
) -> AbstractAsyncContextManager[EndingTLS]:
    # She asks for the client's certificate, to look real, and takes whatever the server shows.
    accepting = server_context(
        chain=towards_client.chain, key=towards_client.key, trust=world.trust, alpn=[ALPN]
    )
    connecting = client_context_for_any_host(
        trust=world.trust, chain=towards_server.chain, key=towards_server.key, alpn=[ALPN]
    )
    connecting.verify_mode = ssl.CERT_NONE
    return ending_tls(to, towards_client=accepting, towards_server=connecting, carry=carry)
