"""What goes through connections, by direction: summed up over those that live and those that did.

A session may live for months, so what it carries is looked up in it whenever somebody asks, and
added to a sum once it ends. Nothing is done for a frame or a record.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from asynctls.session import Session
    from asynctls.tls import Stream

__all__ = ["Metered", "Totals", "Traffic"]


class Traffic(NamedTuple):
    """Counts of one connection, or of many; ``application`` and ``tls`` are bytes.

    Of a session, application bytes are those in whole messages; of a plain stream, all of them.
    """

    messages_sent: int = 0
    messages_received: int = 0
    receipts_sent: int = 0
    receipts_received: int = 0
    application_sent: int = 0
    application_received: int = 0
    tls_sent: int = 0
    tls_received: int = 0

    def plus(self, other: Traffic) -> Traffic:
        """Both together."""
        return Traffic(*map(int.__add__, self, other))


class Metered(msgspec.Struct, frozen=True, eq=False):
    """A connection as it is counted: its TLS, and the session in it where there is one."""

    stream: Stream
    session: Session | None = None

    def traffic(self) -> Traffic:
        """What went through until now."""
        stream = self.stream
        if self.session is None:
            return Traffic(
                application_sent=stream.plaintext_sent,
                application_received=stream.plaintext_received,
                tls_sent=stream.sent.total,
                tls_received=stream.received.total,
            )
        tally = self.session.tally
        return Traffic(
            messages_sent=tally.messages_sent,
            messages_received=tally.messages_received,
            receipts_sent=tally.receipts_sent,
            receipts_received=tally.receipts_received,
            application_sent=tally.bytes_sent,
            application_received=tally.bytes_received,
            tls_sent=stream.sent.total,
            tls_received=stream.received.total,
        )


class Totals:
    """The sum over all connections there were; it never falls."""

    def __init__(self) -> None:
        # They begin and end on the event loop, and are summed up in a thread.
        self._lock = threading.Lock()
        self._live: set[Metered] = set()
        self._ended = Traffic()

    def began(self, metered: Metered) -> None:
        """From now on it counts."""
        with self._lock:
            self._live.add(metered)

    def ended(self, metered: Metered) -> None:
        """It will carry nothing more."""
        with self._lock:
            self._live.discard(metered)
            self._ended = self._ended.plus(metered.traffic())

    def traffic(self) -> Traffic:
        """The sum as of now."""
        with self._lock:
            live, total = tuple(self._live), self._ended
        # Not under the lock, for which the event loop would wait. One that ends meanwhile is in
        # `live` and not in `total`, so it counts once.
        for metered in live:
            total = total.plus(metered.traffic())
        return total
