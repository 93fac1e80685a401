"""What has arrived for OpenSSL: some of it in a memory BIO, the rest outside until that is read.

A BIO keeps the size that it once had to have, for as long as its connection lives.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynctls.tls.records import Octets, Scanner

__all__ = ["MOST_IN_BIO_BYTES", "Incoming"]

MOST_IN_BIO_BYTES = 4 * ((1 << 14) + 29)
"""How much OpenSSL is handed at once: four full records, so that a piece ends where one does."""

_NOTHING = memoryview(b"")


class Incoming:
    """A BIO to read from, and what waits to be handed in.

    Args:
        scanner: reads along what is handed in.

    Attributes:
        bio: what OpenSSL reads.
    """

    __slots__ = ("_scanner", "_waiting", "bio")

    def __init__(self, scanner: Scanner) -> None:
        self.bio = ssl.MemoryBIO()
        self._scanner = scanner
        self._waiting = _NOTHING

    def write(self, received: Octets) -> None:
        """Hand it in, behind what waits; more than fits waits as well."""
        if self._waiting:
            self._waiting = self._behind(received)
            return
        room = MOST_IN_BIO_BYTES - self.bio.pending
        if len(received) <= room:
            self._hand_in(received)
        else:
            self._hand_in(received[:room])
            self._waiting = memoryview(bytes(received[room:]))

    def lend(self, received: memoryview) -> None:
        """Let it be handed in as OpenSSL reads, behind what waits, until `give_back`."""
        self._waiting = self._behind(received) if self._waiting else received

    def _behind(self, received: Octets) -> memoryview:
        return memoryview(b"".join((self._waiting, received)))

    def give_back(self, *, keep: bool) -> None:
        """What was lent is the lender's again: what still waits is copied, or not kept."""
        if self._waiting:
            self._waiting = memoryview(bytes(self._waiting)) if keep else _NOTHING

    def more(self) -> bool:
        """Whether there is something to read; hands in more where there was nothing."""
        if self._waiting and not self.bio.pending:
            self._hand_in(self._waiting[:MOST_IN_BIO_BYTES])
            self._waiting = self._waiting[MOST_IN_BIO_BYTES:]
        return self.bio.pending > 0

    def _hand_in(self, received: Octets) -> None:
        self._scanner.feed(received)
        self.bio.write(received)
