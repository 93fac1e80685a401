"""Our own ends of a connection: an honest client, and an attacker's client and server.

The honest one has every defence of the role but the CRL, which is no part of any attack here: what
it withstands, our clients withstand.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from asynctls.admission import Admitted, Peer, Refused
from asynctls.alerts import Alert
from asynctls.errors import AsynctlsError
from asynctls.pki.names import NameKind, canonical_name, kind_of
from asynctls.probe.attack import PATIENCE_S, Verdict
from asynctls.probe.insider import Insider
from asynctls.probe.relays import everybody
from asynctls.session import ALPN
from asynctls.tls import Stream, client_context, client_context_for_any_host, server_context
from asynctls.tls.contexts import CIPHERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence
    from pathlib import Path

    from asynctls.config import Address
    from asynctls.enrolment import Identity
    from asynctls.mac import Secret
    from asynctls.probe.attack import Target
    from asynctls.tls import Admit

__all__ = [
    "Client",
    "Shown",
    "careless",
    "honest",
    "impostor",
    "speaking",
    "unless_nobody_is_served",
    "verifying",
]


class Shown(Protocol):
    """A certificate and its key, of an identity (`Identity.store`) or of an attacker's."""

    def loadable(self) -> AbstractContextManager[tuple[Path, Path]]:
        """Chain and key, as OpenSSL loads them."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client that can connect more than once.

    Attributes:
        certificate: what it shows, DER.
        context: how it verifies.
        host: whom OpenSSL holds the server's certificate against; None: nobody.
        admit: decides on the rest.
        patience_s: how long it waits for TCP, and again for TLS, in seconds.
    """

    certificate: bytes
    context: ssl.SSLContext
    host: str | None
    admit: Admit
    patience_s: float = PATIENCE_S

    async def connect(self, server: Address, *, session: ssl.SSLSession | None = None) -> Stream:
        """Connects by TCP and TLS, and resumes ``session`` where there is one.

        Raises:
            HandshakeError: one of the two refused the other, or no answer came.
            OSError: nobody is there.
        """
        async with asyncio.timeout(self.patience_s):
            reader, writer = await asyncio.open_connection(server.host, server.port)
        return await Stream.connect(
            reader,
            writer,
            self.context,
            server_hostname=self.host,
            admit=self.admit,
            timeout_s=self.patience_s,
            session=session,
        )


async def honest(target: Target, identity: Identity | None = None) -> Client:
    """A client that verifies the server: its chain, dates, purpose, name and protocol.

    Args:
        target: whose server it expects: by the name that was asked for, else by the one found.
        identity: another one than the caller's.
    """
    return await verifying(
        identity or target.identity,
        name=target.server_name or target.server.name,
        alpn=_alpn(target),
        agreed=(ALPN if target.sessions else None,),
    )


async def verifying(
    identity: Identity,
    *,
    name: str | None,
    alpn: Sequence[str],
    agreed: Collection[str | None],
) -> Client:
    """A client that verifies a server of which that much is known.

    Args:
        identity: ours.
        name: a DNS name, an IP address or a URI that it must have; None: any.
        alpn: the protocols that are offered.
        agreed: those of which one must be agreed on; None is none.
    """
    # OpenSSL matches DNS names and addresses.
    by_uri = name is not None and kind_of(name) is NameKind.URI
    host = None if by_uri else name

    def build() -> ssl.SSLContext:
        make = client_context_for_any_host if host is None else client_context
        with identity.store.loadable() as (chain, key):
            return make(trust=identity.trust, chain=chain, key=key, alpn=alpn)

    return Client(
        identity.certificate,
        await asyncio.to_thread(build),
        host,
        _admitting(name if by_uri else None, agreed),
    )


async def careless(
    target: Target,
    shown: Shown | None,
    *,
    certificate: bytes = b"",
    alpn: Sequence[str] | None = None,
) -> Client:
    """A client that takes whoever is there, and shows what it is given, however weak.

    Args:
        target: whom it connects to.
        shown: a certificate and its key; None: it shows none.
        certificate: the same certificate, DER.
        alpn: the protocols to offer; None: as its own clients do.
    """

    def build() -> ssl.SSLContext:
        context = client_context_for_any_host(
            trust=target.identity.trust, alpn=_alpn(target) if alpn is None else alpn
        )
        context.verify_mode = ssl.CERT_NONE
        # Else OpenSSL would not show a small key, lest it be the holder's own mistake.
        context.set_ciphers(f"{CIPHERS}:@SECLEVEL=0")
        if shown is not None:
            with shown.loadable() as (chain, key):
                context.load_cert_chain(chain, key)
        return context

    return Client(certificate, await asyncio.to_thread(build), None, everybody)


async def impostor(target: Target, shown: Shown) -> ssl.SSLContext:
    """The context of somebody in the server's place, who asks for a certificate, to look real."""

    def build() -> ssl.SSLContext:
        with shown.loadable() as (chain, key):
            return server_context(
                chain=chain, key=key, trust=target.identity.trust, alpn=_alpn(target)
            )

    return await asyncio.to_thread(build)


@asynccontextmanager
async def speaking(
    client: Client, server: Address, *, secret: Secret | None = None
) -> AsyncIterator[tuple[Insider, Stream]]:
    """A connection whose session is put on the wire by hand, KEY included; aborted at the end.

    Raises:
        HandshakeError: as `Client.connect`.
        OSError: likewise.
    """
    stream = await client.connect(server)
    try:
        yield Insider(stream, certificate=client.certificate, secret=secret), stream
    finally:
        stream.abort()


async def unless_nobody_is_served(target: Target, words: str) -> tuple[Verdict, str]:
    """What it means that a server closed, or said nothing: it may do so to everybody by now.

    Since too many come from here, say. An alert or an ERROR leaves no such doubt.

    Args:
        target: who did.
        words: what it did.
    """
    try:
        async with speaking(await honest(target), target.address) as (insider, _):
            if target.sessions:
                await insider.open()
    except (AsynctlsError, OSError) as error:
        why = str(error) or "no answer came in time"
        return Verdict.NOT_TRIED, f"{words}; but an honest client is not served now: {why}"
    return Verdict.WITHSTOOD, words


def _alpn(target: Target) -> tuple[str, ...]:
    return (ALPN,) if target.sessions else ()


def _admitting(uri: str | None, protocols: Collection[str | None]) -> Admit:
    expected = None if uri is None else canonical_name(uri)

    def admit(certificate: bytes | None, alpn: str | None) -> Admitted | Refused:
        if certificate is None:
            return Refused(Alert.HANDSHAKE_FAILURE, "it showed no certificate", None)
        peer = Peer.of(certificate)
        if alpn not in protocols:
            wanted = " or ".join(map(repr, protocols))
            return Refused(
                Alert.NO_APPLICATION_PROTOCOL, f"{alpn!r} was agreed, not {wanted}", peer
            )
        if expected is not None and expected not in peer.sans:
            names = ", ".join(peer.sans) or "none"
            return Refused(Alert.BAD_CERTIFICATE, f"it is not {uri}; its names: {names}", peer)
        return Admitted(peer)

    return admit
