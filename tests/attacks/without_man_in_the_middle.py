"""Victims of the probe's group `man in the middle`: each lacks the one defence that stops it.

Half of these attacks only a client can withstand. Its defence is then taken from the probe's own
honest client, and the server is as it should be.
"""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asynctls.probe.clients
import asynctls.probe.insider
import asynctls.session.session
import asynctls.tls.stream
from asynctls.pki.profiles import Profile
from asynctls.probe import flips
from asynctls.probe.flips import Flip, Flipping
from asynctls.probe.man_in_the_middle import flip_name
from asynctls.probe.relays import everybody
from asynctls.tls import Engine, Side, client_context_for_any_host
from asynctls.tls.records import HandshakeType, Octets
from tests.attacks.naked import Victim, bound_to_nothing, without
from tests.attacks.victims import server_of, target_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from asynctls.probe.attack import Target
    from tests.attacks.world import World

__all__ = ["WITHOUT_DEFENCE"]


@asynccontextmanager
async def _verifying_nobody(world: World) -> AsyncIterator[Target]:
    server = server_of(world, world.holder("server", Profile.SERVER))
    server.context.verify_mode = ssl.CERT_NONE
    async with replace(server, admit=everybody).serving() as served:
        yield target_of(world, served.address)


def _careless_context(**arguments: Any) -> ssl.SSLContext:
    context = client_context_for_any_host(**arguments)
    context.verify_mode = ssl.CERT_NONE
    return context


def _indifferent(flip: Flip, side: Side) -> Victim:
    """No TLS library lets a changed bit pass, so that one end is made one that changes it back."""

    # Where the bit is the message's type, it has another one by now.
    changed = (
        flip
        if flip.at or flip.message is None
        else replace(flip, message=HandshakeType(flip.message ^ 1))
    )

    class Indifferent(Engine):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._restore = Flipping(changed)
            self._arrived = b""

        def receive_data(self, received: Octets) -> None:
            if self._side is not side or not received:
                super().receive_data(received)
                return
            self._arrived += received
            while len(self._arrived) >= 5:
                end = 5 + int.from_bytes(self._arrived[3:5])
                if len(self._arrived) < end:
                    break
                super().receive_data(self._restore(self._arrived[:end]))
                self._arrived = self._arrived[end:]

    return without((asynctls.tls.stream, "Engine", Indifferent))


_OUR_CLIENT_VERIFYING_NOBODY = without(
    (asynctls.probe.clients, "client_context", _careless_context)
)
_OUR_CLIENT_FOR_ANY_HOST = without(
    (asynctls.probe.clients, "client_context", client_context_for_any_host)
)
_BOUND_TO_NOTHING = without(
    (asynctls.session.session, "binding", bound_to_nothing),
    (asynctls.probe.insider, "binding", bound_to_nothing),
)

WITHOUT_DEFENCE: Mapping[str, Victim] = {
    "relay with a self-signed certificate": _verifying_nobody,
    "relay with a certificate of another CA": _verifying_nobody,
    "relay with the caller's certificate": _OUR_CLIENT_VERIFYING_NOBODY,
    "relay with a server's certificate of another name": _OUR_CLIENT_FOR_ANY_HOST,
    "relay with a client's certificate as the server": _OUR_CLIENT_VERIFYING_NOBODY,
    "relay with a server's certificate as the client": _verifying_nobody,
    "relay that passes the frames on": _BOUND_TO_NOTHING,
    **{
        flip_name(flip, sender): _indifferent(flip, side)
        for sender, side, all_flips in (
            ("client", Side.SERVER, flips.FROM_CLIENT),
            ("server", Side.CLIENT, flips.FROM_SERVER),
        )
        for flip in all_flips
    },
}
