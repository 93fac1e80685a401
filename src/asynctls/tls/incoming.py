"""What has arrived for OpenSSL: some of it in a memory BIO, the rest outside until that is read.

A BIO keeps the size that it once had to have, for as long as its connection lives.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynctls.tls.records import Octets

__all__ = ["MOST_IN_BIO_BYTES", "Incoming"]

MOST_IN_BIO_BYTES = 1 << 16
"""How much OpenSSL is handed at once."""

_NOTHING = memoryview(b"")


class Incoming:
    """A BIO to read from, and what waits to be handed in.

    Attributes:
        bio: what OpenSSL reads.
    """

    __slots__ = ("_waiting", "bio")

    def __init__(self) -> None:
        self.bio = ssl.MemoryBIO()
        self._waiting = _NOTHING

    def write(self, received: Octets) -> None:
        """Hand it in, behind what waits."""
        if self._waiting:
            self._waiting = self._behind(received)
        else:
            self.bio.write(received)

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
            self.bio.write(self._waiting[:MOST_IN_BIO_BYTES])
            self._waiting = self._waiting[MOST_IN_BIO_BYTES:]
        return self.bio.pending > 0
