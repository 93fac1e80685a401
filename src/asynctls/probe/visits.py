"""A TLS connection to the target as whoever the attack says, and what the server answered."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asynctls.errors import (
    HandshakeError,
    HandshakeTimeoutError,
    PeerRefusedError,
    RefusedByPeerError,
)
from asynctls.probe.attack import PATIENCE_S, Verdict
from asynctls.probe.credential import Credential
from asynctls.probe.relays import everybody
from asynctls.session import ALPN
from asynctls.tls import Stream, client_context_for_any_host
from asynctls.tls.contexts import CIPHERS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from asynctls.enrolment import Identity
    from asynctls.probe.attack import Target

__all__ = ["Visit", "context_showing", "open_stream", "visit"]


@dataclass(frozen=True, slots=True)
class Visit:
    """How a server received a visitor: whether it let them in, and its answer in words."""

    let_in: bool
    answer: str

    @property
    def verdict(self) -> tuple[Verdict, str]:
        """For a visitor whom no server may let in."""
        return Verdict.NOT_WITHSTOOD if self.let_in else Verdict.WITHSTOOD, self.answer


async def visit(
    target: Target, shown: Identity | Credential | None, *, alpn: Sequence[str] = (ALPN,)
) -> Visit:
    """Shakes hands with the server, and leaves at once.

    Args:
        target: the server.
        shown: whose certificate to show; None: none.
        alpn: the protocols to offer (RFC 7301).

    Raises:
        OSError: nobody is there, or the server gave no time to shake hands.
        PeerRefusedError: its certificate is none of the CA that ours is of.
    """
    context = await asyncio.to_thread(context_showing, target, shown, alpn=alpn)
    try:
        stream = await open_stream(target, context)
    except RefusedByPeerError as error:
        if error.alert is None:
            return Visit(let_in=False, answer=str(error))
        return Visit(
            let_in=False, answer=f"refused: {error.alert.words} (alert {error.alert.value})"
        )
    except HandshakeTimeoutError:
        return Visit(let_in=False, answer=f"nothing within {PATIENCE_S:g} s")
    except PeerRefusedError:
        raise
    except HandshakeError:
        return Visit(let_in=False, answer="closed, without an alert")
    stream.abort()
    return Visit(let_in=True, answer="let in")


def context_showing(
    target: Target, shown: Identity | Credential | None, *, alpn: Sequence[str] = (ALPN,)
) -> ssl.SSLContext:
    """A client's context with that certificate, whatever it is like; blocks for a moment.

    The server's chain is verified, its name is not.
    """
    context = client_context_for_any_host(trust=target.identity.trust, alpn=alpn)
    # OpenSSL would not show a small key, lest it were the holder's own mistake.
    context.set_ciphers(f"{CIPHERS}:@SECLEVEL=0")
    with _files(shown) as files:
        if files is not None:
            context.load_cert_chain(*files)
    return context


async def open_stream(
    target: Target, context: ssl.SSLContext, *, timeout_s: float = PATIENCE_S
) -> Stream:
    """A connection that the server let in.

    Args:
        target: the server.
        context: of a client.
        timeout_s: for the TCP connection, and again for the TLS handshake, in seconds.

    Raises:
        OSError: nobody is there.
        HandshakeError: the server did not let us in, or is none that we trust.
    """
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(target.address.host, target.address.port)
    return await Stream.connect(
        reader, writer, context, server_hostname=None, admit=everybody, timeout_s=timeout_s
    )


def _files(
    shown: Identity | Credential | None,
) -> AbstractContextManager[tuple[Path, Path] | None]:
    match shown:
        case None:
            return nullcontext()
        case Credential():
            return shown.loadable()
    return shown.store.loadable()
