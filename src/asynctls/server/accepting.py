"""From a TCP connection to one whose peer is admitted, or one that was refused and logged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asynctls.admission import Admitted, Peer, Refused, admit
from asynctls.errors import HandshakeError, PeerRefusedError, RefusedByPeerError
from asynctls.runtime.observing import Observer
from asynctls.runtime.refusals import log_refusal
from asynctls.tls import Gate, Stream, address_of

if TYPE_CHECKING:
    import asyncio

    from asynctls.admission import AllowList, Rules
    from asynctls.enrolment.keeper import Keeper

__all__ = ["Accepted", "Acceptor"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """An established connection, its peer, and the certificate that we showed (DER)."""

    stream: Stream
    peer: Peer
    own_certificate: bytes


class Acceptor:
    """Shakes hands with whoever connects, within a service's bounds.

    Args:
        keeper: our identity and the CRLs.
        allow: who may come in.
        alpn: the protocol that must be agreed; None: none is asked for.
        handshakes: how many TLS handshakes may be under way at once; others wait.
        handshake_timeout_s: how long one may take.
        observer: is told how each ended.
    """

    def __init__(
        self,
        keeper: Keeper,
        *,
        allow: AllowList,
        alpn: str | None,
        handshakes: int,
        handshake_timeout_s: float,
        observer: Observer | None = None,
    ) -> None:
        self._keeper = keeper
        self._allow = allow
        self._alpn = alpn
        self._gate = Gate(handshakes)
        self._handshake_timeout_s = handshake_timeout_s
        self._observer = observer or Observer()

    def rules(self) -> Rules:
        """What peers are held against at this moment."""
        return self._keeper.rules(self._allow, alpn=self._alpn)

    async def accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Accepted | None:
        """The connection, once its peer is admitted; None: there is none, and the log says why."""
        # Asked for at once: later the socket may be gone, and with it the address.
        address = address_of(writer)
        credentials = await self._keeper.server_credentials()
        try:
            stream = await Stream.accept(
                reader,
                writer,
                credentials.context,
                admit=self._admit,
                gate=self._gate,
                timeout_s=self._handshake_timeout_s,
            )
        except HandshakeError as error:
            if isinstance(error, PeerRefusedError) and not error.told:
                self._keeper.retire_contexts()
            log_refusal(address, error)
            self._observer.handshake_failed(error)
            if isinstance(error, PeerRefusedError | RefusedByPeerError):
                # One of the two may know less than the TTP by now.
                self._keeper.refresh_soon()
            return None
        self._observer.handshake_done()
        if stream.peer_certificate is None:
            raise RuntimeError("a peer without a certificate was admitted")
        return Accepted(stream, Peer.of(stream.peer_certificate), credentials.certificate)

    def _admit(self, certificate: bytes | None, alpn: str | None) -> Admitted | Refused:
        verdict = admit(certificate, alpn, now=datetime.now(UTC), rules=self.rules())
        if isinstance(verdict, Admitted):
            self._keeper.note_admitted(verdict.peer)
        return verdict
