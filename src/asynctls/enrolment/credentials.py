"""What a connection is made with, a TLS context and our certificate, never older than it may be.

A context holds the keys of the session tickets that it gave out, and OpenSSL resumes a session
without looking at a certificate again. So none lives longer than an hour, or past the end of a
certificate that was admitted by it, or with more than a few sessions in OpenSSL's own cache. A new
one is built off the loop and replaces the old one whole; while that fails, the old one stays.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from asynctls.enrolment.clock import utc_now
from asynctls.errors import CertificateError
from asynctls.logger import get_logger

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Hashable

__all__ = [
    "LARGEST_SESSION_CACHE",
    "LONGEST_LIFE",
    "Credentials",
    "FreshCredentials",
    "KnownPeer",
]

log = get_logger()

LONGEST_LIFE = timedelta(hours=1)
LARGEST_SESSION_CACHE = 256
_RETRY = timedelta(seconds=10)


class KnownPeer(msgspec.Struct, frozen=True):
    """Whom a full handshake was with: its TLS session, and the certificate (DER) it verified."""

    session: ssl.SSLSession
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """A context, and the certificate (DER) that its connections show: they change together.

    `known` is a client's: whose session it may resume, by whatever tells them apart. It goes with
    the context, for what a session skips was verified by that.
    """

    context: ssl.SSLContext
    certificate: bytes
    known: dict[Hashable, KnownPeer] = field(default_factory=dict, repr=False, compare=False)


class FreshCredentials:
    """Hands out one context for as long as it may live, then the next."""

    def __init__(
        self,
        build: Callable[[], Credentials],
        *,
        clock: Callable[[], datetime] = utc_now,
        building: asyncio.Lock | None = None,
    ) -> None:
        """Nothing is built yet.

        Args:
            build: Makes a context and tries it; it may block, and is called in a thread.
            clock: The time, aware and UTC.
            building: Is held while it builds; None: a lock of its own.
        """
        self._build = build
        self._clock = clock
        self._building = building or asyncio.Lock()
        self._credentials: Credentials | None = None
        self._begins = self._ends = datetime.min.replace(tzinfo=UTC)
        self._generation = 0

    async def get(self) -> Credentials:
        """The context for the next connection.

        Raises:
            CertificateError: No context could be built yet. (Later failures are logged, and the
                last good context stays.)
        """
        held = self._credentials
        if held is None or self._is_due(held):
            async with self._building:
                held = self._credentials
                if held is None or self._is_due(held):
                    held = await self._renew()
        return held

    @property
    def in_use(self) -> bool:
        """Whether anybody has asked for a context yet."""
        return self._credentials is not None

    def take(self, credentials: Credentials) -> None:
        """Hands out these from now on, made of another identity."""
        self._generation += 1
        self._hold(credentials)

    def retire(self) -> None:
        """What the context was built from has changed: the next connection gets a new one."""
        self._generation += 1
        self._ends = datetime.min.replace(tzinfo=UTC)

    def note_admitted(self, not_after: datetime) -> None:
        """A peer whose certificate ends then was admitted by the context."""
        self._ends = min(self._ends, not_after)

    def _is_due(self, held: Credentials) -> bool:
        cached = held.context.session_stats()["number"]
        # A clock that is set back must not make its life longer.
        is_in_time = self._begins <= self._clock() < self._ends
        return not is_in_time or cached > LARGEST_SESSION_CACHE

    async def _renew(self) -> Credentials:
        while True:
            generation = self._generation
            try:
                fresh = await asyncio.to_thread(self._build)
            except (CertificateError, OSError) as error:
                if generation != self._generation:
                    continue
                if self._credentials is None:
                    raise
                log.warning("TLS context not rebuilt, the last good one stays", reason=str(error))
                # It verifies anew whom it knows, or a session could be resumed for ever.
                self._credentials.known.clear()
                self._hold(self._credentials, _RETRY)
                return self._credentials
            if generation == self._generation:
                break
        self._hold(fresh)
        return fresh

    def _hold(self, credentials: Credentials, life: timedelta = LONGEST_LIFE) -> None:
        self._credentials = credentials
        self._begins = self._clock()
        self._ends = self._begins + life
