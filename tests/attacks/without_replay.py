"""Victims of the probe's group `replay`: each lacks the one defence that stops it."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asynctls.probe.insider
import asynctls.probe.tickets
import asynctls.session.opener
import asynctls.session.protocol
import asynctls.session.sealer
import asynctls.session.session
from asynctls.errors import SessionTruncatedError
from asynctls.pki.profiles import Profile
from asynctls.probe.relays import everybody, listening
from asynctls.session.keys import Keys, derive
from asynctls.session.opener import Opener
from asynctls.session.protocol import Ended
from asynctls.session.receiving import Receiving
from asynctls.session.shape import FIXED
from asynctls.session.states import State
from tests.attacks.naked import Victim, bound_to_nothing, without
from tests.attacks.victims import server_of, target_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from asynctls.mac import Secret
    from asynctls.probe.attack import Target
    from asynctls.session.frames import Frame
    from tests.attacks.world import World

__all__ = ["WITHOUT_DEFENCE", "TakesAnyEnd", "Uncounting", "one_key"]


class Uncounting(Opener):
    """A receiver without the sequence check: it takes each frame for the one that was due."""

    def _open(self, buffer: bytes, at: int) -> Frame | None:
        numbered_at = at + len(FIXED) + 2
        if len(buffer) >= numbered_at + 8:
            self._sequence = int.from_bytes(buffer[numbered_at : numbered_at + 8])
        return super()._open(buffer, at)


class TakesAnyEnd(Receiving):
    """Takes the connection's end for the peer's CLOSE."""

    def _read_a_stretch(self, halted: asyncio.Future[None]) -> bool:
        try:
            return super()._read_a_stretch(halted)
        except SessionTruncatedError:
            self._protocol._failure = None
            self._protocol._receiving = State.CLOSED
            self._take(Ended())
            # Until `stop`.
            return False


def one_key(secret: Secret, seen: bytes) -> Keys:
    """One key for both directions."""
    keys = derive(secret, seen)
    return Keys(client=keys.client, server=keys.client)


@asynccontextmanager
async def _saying_the_same_again(world: World) -> AsyncIterator[Target]:
    """Draws no randomness: it answers every connection with the bytes of the first."""
    said: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if said:
            await reader.read(1)
            writer.write(b"".join(said))
            writer.close()
            return
        further_reader, further_writer = await asyncio.open_connection(to.host, to.port)
        async with asyncio.TaskGroup() as both:
            both.create_task(_carry(reader, further_writer, []))
            both.create_task(_carry(further_reader, writer, said))

    server = server_of(world, world.holder("server", Profile.SERVER))
    async with server.serving() as served, listening(serve) as address:
        to = served.address
        yield target_of(world, address)


async def _carry(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, tape: list[bytes]
) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(1 << 16):
            tape.append(piece)
            sink.write(piece)
    sink.close()


_WITHOUT_SEQUENCE = without((asynctls.session.protocol, "Opener", Uncounting))
_WITHOUT_MAC = without((asynctls.session.opener, "compare_digest", lambda _one, _other: True))
_WITH_ONE_KEY = without(
    (asynctls.session.protocol, "derive", one_key),
    (asynctls.probe.insider, "derive", one_key),
    (asynctls.session.opener, "external_aad", lambda _sender: b"\x40"),
    (asynctls.session.sealer, "external_aad", lambda _sender: b"\x40"),
)
_WITHOUT_BINDING = without(
    (asynctls.session.session, "binding", bound_to_nothing),
    (asynctls.probe.insider, "binding", bound_to_nothing),
)
_WITHOUT_CLOSE = without((asynctls.session.session, "Receiving", TakesAnyEnd))

WITHOUT_DEFENCE: Mapping[str, Victim] = {
    "ClientHello again": _saying_the_same_again,
    "whole connection again": _saying_the_same_again,
    "frame again in the same session": _WITHOUT_SEQUENCE,
    "frame left out": _WITHOUT_SEQUENCE,
    "frames exchanged": _WITHOUT_SEQUENCE,
    "frame again, towards our client": _WITHOUT_SEQUENCE,
    "frame left out, towards our client": _WITHOUT_SEQUENCE,
    "frames exchanged, towards our client": _WITHOUT_SEQUENCE,
    "frame reflected": _WITH_ONE_KEY,
    "frame of another session": _WITHOUT_MAC,
    "whole session again": _WITHOUT_BINDING,
    "cut without CLOSE, towards the server": _WITHOUT_CLOSE,
    "cut without CLOSE, towards our client": _WITHOUT_CLOSE,
    # A context that lives on, as nobody's of the roles does.
    "ticket of an expired certificate": without(admit=everybody),
    "ticket of a revoked certificate": without(
        (asynctls.probe.tickets, "HEARS_OF_IT_S", 0.2), admit=everybody
    ),
}
