"""From a TCP connection to one whose peer is admitted, or one that was refused and logged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from asynctls.admission import Admitted, LiveAfterExpiry, Peer, Refused, admit
from asynctls.errors import HandshakeError, PeerRefusedError, RefusedByPeerError
from asynctls.runtime.observing import Observer
from asynctls.runtime.refusals import log_refusal
from asynctls.tls import KEEPALIVE_S, Gate, Stream, address_of

if TYPE_CHECKING:
    import asyncio

    from asynctls.admission import AllowList, Rules
    from asynctls.enrolment.keeper import Keeper

__all__ = ["Accepted", "Acceptor", "Terms"]


class Accepted(msgspec.Struct, frozen=True):
    """An established connection, its peer, and the certificate that we showed (DER).

    `outdated`: by now other rules count than those that the peer was held against.
    """

    stream: Stream
    peer: Peer
    own_certificate: bytes
    outdated: bool


class Terms(msgspec.Struct, frozen=True):
    """On which a peer comes in.

    Attributes:
        allow: who may.
        alpn: the protocol that must be agreed; None: none is asked for.
        handshakes: how many TLS handshakes may be under way at once; others wait.
        handshake_timeout_s: how long one may take.
        keepalive_s: how long a peer may be silent to TCP before it counts as dead.
        live_after_expiry: what a certificate's end means for connections that are live by then.
    """

    allow: AllowList
    alpn: str | None
    handshakes: int
    handshake_timeout_s: float
    keepalive_s: float = KEEPALIVE_S
    live_after_expiry: LiveAfterExpiry = LiveAfterExpiry.END


class Acceptor:
    """Shakes hands with whoever connects, on terms that can change while it does."""

    def __init__(self, keeper: Keeper, terms: Terms, *, observer: Observer | None = None) -> None:
        """Accepts nothing yet.

        Args:
            keeper: our identity and the CRLs.
            terms: those of the first connections.
            observer: is told how each handshake ended.
        """
        self._keeper = keeper
        self._terms = terms
        self._gate = Gate(terms.handshakes)
        self._observer = observer or Observer()

    def take(self, terms: Terms) -> None:
        """Other terms count from now on, for handshakes that are under way too."""
        if terms.handshakes != self._terms.handshakes:
            self._gate = Gate(terms.handshakes)
        self._terms = terms

    def rules(self) -> Rules:
        """What peers are held against at this moment."""
        terms = self._terms
        return self._keeper.rules(
            terms.allow, alpn=terms.alpn, live_after_expiry=terms.live_after_expiry
        )

    def live_after_expiry(self) -> LiveAfterExpiry:
        """What a certificate's end means for connections that are live by then."""
        return self._terms.live_after_expiry

    async def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Accepted | None:
        """The connection, once its peer is admitted; None: there is none, and the log says why."""
        credentials = await self._keeper.server_credentials(alpn=self._terms.alpn)
        peer: Peer | None = None
        rules: Rules | None = None

        def judge(certificate: bytes | None, agreed: str | None) -> Admitted | Refused:
            nonlocal peer, rules
            rules = self.rules()
            verdict = admit(certificate, agreed, now=datetime.now(UTC), rules=rules)
            if isinstance(verdict, Admitted):
                peer = verdict.peer
                self._keeper.note_admitted(peer)
            return verdict

        try:
            stream = await Stream.accept(
                reader,
                writer,
                credentials.context,
                admit=judge,
                gate=self._gate,
                timeout_s=self._terms.handshake_timeout_s,
                keepalive_s=self._terms.keepalive_s,
            )
        except HandshakeError as error:
            if isinstance(error, PeerRefusedError) and not error.told:
                self._keeper.retire_contexts()
            log_refusal(address_of(writer), error)
            self._observer.handshake_failed(error)
            if isinstance(error, PeerRefusedError | RefusedByPeerError):
                # One of the two may know less than the TTP by now.
                self._keeper.refresh_soon()
            return None
        self._observer.handshake_done()
        if peer is None or rules is None:
            raise RuntimeError("nobody was admitted")
        return Accepted(stream, peer, credentials.certificate, outdated=rules != self.rules())
