"""A TLS connection to the target as whoever the attack says, and what the server answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asynctls.enrolment import Identity
from asynctls.errors import (
    HandshakeError,
    HandshakeTimeoutError,
    RefusedByPeerError,
    TruncatedError,
)
from asynctls.probe.attack import PATIENCE_S, Verdict
from asynctls.probe.clients import careless
from asynctls.probe.offers import alert_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynctls.probe.attack import Target
    from asynctls.probe.credential import Credential
    from asynctls.tls import Stream

__all__ = ["Visit", "judged", "visit"]


@dataclass(frozen=True, slots=True)
class Visit:
    """How a server received a visitor.

    Attributes:
        let_in: whether the handshake came to its end, and the connection stood after it.
        alert: whether it was refused by an alert.
        answer: what the server did, in words.
    """

    let_in: bool
    alert: bool
    answer: str


async def visit(
    target: Target, shown: Identity | Credential | None, *, alpn: Sequence[str] | None = None
) -> Visit:
    """Shakes hands with the server, and leaves: at once where it has sessions.

    Any other gets `PATIENCE_S` to hang up.

    Args:
        target: the server.
        shown: whose certificate to show; None: none.
        alpn: the protocols to offer (RFC 7301); None: those of its own clients.

    Raises:
        OSError: nobody is there.
    """
    if shown is None:
        client = await careless(target, None, alpn=alpn)
    else:
        # Where an identity is kept, its files are.
        files = shown.store if isinstance(shown, Identity) else shown
        client = await careless(target, files, certificate=shown.certificate, alpn=alpn)
    try:
        stream = await client.connect(target.address)
    except RefusedByPeerError as error:
        words = str(error) if error.alert is None else f"refused: {alert_words(error.alert)}"
        return Visit(let_in=False, alert=True, answer=words)
    except HandshakeTimeoutError:
        return Visit(let_in=False, alert=False, answer=f"said nothing within {PATIENCE_S:g} s")
    except HandshakeError:
        return Visit(let_in=False, alert=False, answer="closed the connection")
    try:
        return _LET_IN if target.sessions else await _afterwards(stream)
    finally:
        stream.abort()


_LET_IN = Visit(let_in=True, alert=False, answer="let in")


async def _afterwards(stream: Stream) -> Visit:
    """Some servers look at a certificate only after the handshake, and hang up: nginx, say."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            if await stream.read():
                return _LET_IN
    except TimeoutError:
        return _LET_IN
    except TruncatedError:
        pass
    return Visit(let_in=False, alert=False, answer="hung up after the handshake")


async def judged(target: Target, visited: Visit) -> tuple[Verdict, str]:
    """The verdict on a server, by how it received somebody whom it must not let in."""
    if visited.let_in:
        return Verdict.NOT_WITHSTOOD, visited.answer
    if not visited.alert and not (await visit(target, target.identity)).let_in:
        # Who closes or is silent may do so whoever comes: since too many come from here, say.
        takes = "it takes a server that has a place for us"
        return Verdict.NOT_TRIED, f"{takes}: whoever comes, it {visited.answer}"
    return Verdict.WITHSTOOD, visited.answer
