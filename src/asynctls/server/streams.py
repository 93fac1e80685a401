"""One connection to a server that speaks plain mutual TLS: a stream for a handler, to its end.

No ALPN is asked for, so that the peer can be any TLS program. What ends a connection is told once
in the log: ``refused`` where none came about, ``stream ended`` where one did.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeAlias

from asynctls.enrolment.standing import end_unwelcome, expiry_of
from asynctls.errors import AsynctlsError, SessionTruncatedError, TruncatedError
from asynctls.logger import logger_for
from asynctls.runtime.observing import Observer
from asynctls.runtime.traffic import Metered
from asynctls.streams import PeerStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from asynctls.admission import Rules
    from asynctls.server.accepting import Accepted, Acceptor

__all__ = ["StreamHandler", "StreamServer"]

StreamHandler: TypeAlias = "Callable[[PeerStream], Awaitable[None]]"
"""Serves one stream; what it raises ends that stream alone."""


class StreamServer:
    """Serves a handler to every peer that is admitted.

    Args:
        handler: what to do with a stream; when it returns, the stream is closed.
        acceptor: makes streams of connections.
        observer: is told of streams, as of sessions.
    """

    def __init__(
        self, handler: StreamHandler, acceptor: Acceptor, *, observer: Observer | None = None
    ) -> None:
        self._handler = handler
        self._acceptor = acceptor
        self._observer = observer or Observer()
        self._live: set[PeerStream] = set()

    @property
    def live(self) -> Iterable[PeerStream]:
        """The streams that are open now."""
        return self._live

    def rules(self) -> Rules:
        """What peers are held against at this moment."""
        return self._acceptor.rules()

    def go_away(self) -> None:
        """Tells nobody: a plain stream has no word for it."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection to its end."""
        accepted = await self._acceptor.accept(reader, writer)
        if accepted is not None:
            await self._run(accepted)

    async def _run(self, accepted: Accepted) -> None:
        tls = accepted.stream
        stream, metered = PeerStream(tls, peer=accepted.peer), Metered(tls)
        expiry = expiry_of(
            stream,
            own_certificate=accepted.own_certificate,
            live_after_expiry=self._acceptor.live_after_expiry,
        )
        # In the same turn as `outdated` was found out, so that no change of the rules is missed.
        self._live.add(stream)
        self._observer.session_started(metered)
        started = logger_for(logging.INFO)
        if started is not None:
            started.info(
                "stream started",
                peer=str(accepted.peer),
                address=tls.peer_address,
                version=tls.version,
                cipher=tls.cipher,
                resumed=tls.resumed,
            )
        reason = "both ends closed it"
        truncated = False
        try:
            expiry.start()
            if not accepted.outdated or not await end_unwelcome([stream], self.rules()):
                await self._handler(stream)
                await stream.wait_closed()
        except asyncio.CancelledError:
            reason = "cut off: the server stops"
            raise
        except TruncatedError as error:
            truncated, reason = True, str(error)
        except AsynctlsError as error:
            reason = str(error)
        except Exception as error:
            reason = f"the handler failed: {type(error).__name__}"
            raise
        finally:
            expiry.stop()
            stream.abort()
            self._live.discard(stream)
            reason = stream.cut_off_for or reason
            failure = SessionTruncatedError(reason) if truncated else None
            self._observer.session_ended(metered, failure)
            ended = logger_for(logging.INFO)
            if ended is not None:
                ended.info(
                    "stream ended",
                    peer=str(accepted.peer),
                    address=tls.peer_address,
                    reason=reason,
                    sent=tls.sent.total,
                    received=tls.received.total,
                )
