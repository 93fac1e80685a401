"""One connection to a server, from TCP to the end of its session: TLS, session, app.

Everything that ends a connection is told once in the log: ``refused`` where no session came about,
``session ended`` where one did.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asynctls.admission import Admitted, Peer, Refused, admit
from asynctls.enrolment.standing import end_unwelcome
from asynctls.errors import (
    ErrorCode,
    HandshakeError,
    MessageTooLargeError,
    PeerRefusedError,
    RefusedByPeerError,
    SessionClosedError,
    SessionError,
)
from asynctls.logger import get_logger
from asynctls.runtime.figures import session_figures
from asynctls.runtime.observing import Observer
from asynctls.runtime.refusals import log_refusal
from asynctls.session import ALPN, Limits, Session
from asynctls.tls import Gate, Stream, address_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asynctls.admission import Anyone, Rules
    from asynctls.enrolment.keeper import Keeper
    from asynctls.pki.names import Pattern
    from asynctls.server.apps import App

__all__ = ["SessionServer"]

log = get_logger()


class SessionServer:
    """Serves an app to every peer that is admitted."""

    def __init__(
        self,
        app: App,
        *,
        keeper: Keeper,
        allow: tuple[Pattern, ...] | Anyone,
        handshakes: int,
        handshake_timeout_s: float,
        limits: Limits,
        observer: Observer | None = None,
    ) -> None:
        """Serves nothing yet: ``serve`` is the callback for each connection.

        Args:
            app: what to do with a session.
            keeper: our identity and the CRLs.
            allow: who may come in.
            handshakes: how many TLS handshakes may be under way at once; others wait.
            handshake_timeout_s: how long one may take.
            limits: the session's.
            observer: is told of handshakes and sessions.
        """
        self._app = app
        self._keeper = keeper
        self._allow = allow
        self._gate = Gate(handshakes)
        self._handshake_timeout_s = handshake_timeout_s
        self._limits = limits
        self._observer = observer or Observer()
        self._live: set[Session] = set()
        self._going_away = False

    @property
    def live(self) -> Iterable[Session]:
        """The sessions that are open now."""
        return self._live

    def rules(self) -> Rules:
        """What peers are held against at this moment."""
        return self._keeper.rules(self._allow, alpn=ALPN)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection to its end."""
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
            return
        self._observer.handshake_done()
        if stream.peer_certificate is None:
            raise RuntimeError("a peer without a certificate was admitted")
        session = Session.accept(
            stream,
            own_certificate=credentials.certificate,
            peer=Peer.of(stream.peer_certificate),
            limits=self._limits,
        )
        await self._run(session, stream)

    def go_away(self) -> None:
        """Tells every live peer that the server drains, and each that comes to be one from now."""
        self._going_away = True
        for session in self._live:
            session.goaway()

    async def _run(self, session: Session, stream: Stream) -> None:
        peer = str(session.peer)
        failure = None
        try:
            async with session:
                self._live.add(session)
                self._observer.session_started()
                log.info(
                    "session started",
                    peer=peer,
                    address=stream.peer_address,
                    version=stream.version,
                    cipher=stream.cipher,
                    resumed=stream.resumed,
                )
                if self._going_away:
                    session.goaway()
                # `admit` asked before the peer opened the session, for which it has its time.
                if not await end_unwelcome([session], self.rules()):
                    await self._serve_app(session)
        except HandshakeError as error:
            failure = str(error)
        except SessionError as error:
            # The session's own failure is its reason below; another session's is the app's fault.
            if error is not session.failure and not isinstance(error, SessionClosedError):
                failure = f"the app failed: {error}"
        except asyncio.CancelledError:
            failure = "cut off: the server stops"
            raise
        except Exception as error:
            failure = f"the app failed: {type(error).__name__}"
            raise
        finally:
            if session in self._live:
                self._live.discard(session)
                self._observer.session_ended(session.failure)
            log.info(
                "session ended",
                peer=peer,
                address=stream.peer_address,
                reason=failure or session.end_reason,
                **session_figures(stream, session),
            )

    async def _serve_app(self, session: Session) -> None:
        try:
            await self._app(session)
        except MessageTooLargeError as error:
            # Nothing was sent, and nothing is wrong at this end: the client is told its own limit.
            await session.end(ErrorCode.TOO_LARGE, str(error))

    def _admit(self, certificate: bytes | None, alpn: str | None) -> Admitted | Refused:
        verdict = admit(certificate, alpn, now=datetime.now(UTC), rules=self.rules())
        if isinstance(verdict, Admitted):
            self._keeper.note_admitted(verdict.peer)
        return verdict
