"""One connection to a server, from TCP to the end of its session: TLS, session, app.

Everything that ends a connection is told once in the log: ``refused`` where no session came about,
``session ended`` where one did.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynctls.enrolment.standing import end_unwelcome
from asynctls.errors import (
    AsynctlsError,
    ErrorCode,
    MessageTooLargeError,
    SessionClosedError,
    SessionError,
)
from asynctls.logger import get_logger
from asynctls.runtime.figures import session_figures
from asynctls.runtime.observing import Observer
from asynctls.runtime.traffic import Metered
from asynctls.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asynctls.admission import Rules
    from asynctls.server.accepting import Acceptor
    from asynctls.server.apps import App
    from asynctls.session import Limits
    from asynctls.tls import Stream

__all__ = ["SessionServer"]

log = get_logger()


class SessionServer:
    """Serves an app to every peer that is admitted."""

    def __init__(
        self,
        app: App,
        acceptor: Acceptor,
        *,
        limits: Limits,
        observer: Observer | None = None,
    ) -> None:
        """Serves nothing yet: ``serve`` is the callback for each connection.

        Args:
            app: what to do with a session.
            acceptor: makes streams of connections, by the protocol `ALPN`.
            limits: the session's.
            observer: is told of sessions.
        """
        self._app = app
        self._acceptor = acceptor
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
        return self._acceptor.rules()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection to its end."""
        accepted = await self._acceptor.accept(reader, writer)
        if accepted is None:
            return
        session = Session.accept(
            accepted.stream,
            own_certificate=accepted.own_certificate,
            peer=accepted.peer,
            limits=self._limits,
            live_after_expiry=self._acceptor.live_after_expiry,
        )
        await self._run(session, accepted.stream)

    def go_away(self) -> None:
        """Tells every live peer that the server drains, and each that comes to be one from now."""
        self._going_away = True
        for session in self._live:
            session.goaway()

    async def _run(self, session: Session, stream: Stream) -> None:
        peer = str(session.peer)
        failure = None
        metered = Metered(stream, session)
        try:
            async with session:
                self._live.add(session)
                self._observer.session_started(metered)
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
        except SessionError as error:
            # The session's own failure is its reason below; another one once the app has it is the
            # app's fault.
            own = error is session.failure or isinstance(error, SessionClosedError)
            if session in self._live and not own:
                failure = f"the app failed: {error}"
        except AsynctlsError as error:
            # No session came about; or what is behind the app is lost or out of reach.
            failure = str(error)
        except asyncio.CancelledError:
            failure = "cut off: the server stops"
            raise
        except Exception as error:
            failure = f"the app failed: {type(error).__name__}"
            raise
        finally:
            if session in self._live:
                self._live.discard(session)
                self._observer.session_ended(metered, session.failure)
            else:
                self._observer.session_not_opened(metered, session.failure)
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
