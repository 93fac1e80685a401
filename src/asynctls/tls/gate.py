"""What a service has under way at once, and how much of it one address may have.

The decision and what it costs: docs/decisions/handshake-places.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["PLACE_S", "Gate"]

PLACE_S = 0.5
"""How long a handshake has its place at a stretch: it ends in that, or its peer lets us wait."""


class _Share(msgspec.Struct):
    """One address's part of the places; forgotten when nobody uses it."""

    places: asyncio.Semaphore
    users: int = msgspec.field(default=0)


class Gate:
    """Places for handshakes, and for closes that linger; one address gets half of either.

    Args:
        handshakes: how many handshakes may be under way; others wait, within their time-out.
        lingering: how many closes may linger; past that a connection is closed at once (and a peer
            that still sends may miss its alert).
    """

    def __init__(self, handshakes: int, lingering: int = 64) -> None:
        self._places = asyncio.Semaphore(handshakes)
        self._most = handshakes
        self._most_of_one = _half(handshakes)
        self._shares: dict[str | None, _Share] = {}
        self._lingering = lingering
        self._lingering_of_one = _half(lingering)
        self._lingering_now: Counter[str | None] = Counter()
        self.under_way = 0
        """Handshakes under way now."""

    @contextlib.asynccontextmanager
    async def handshake(self, network: str | None = None) -> AsyncIterator[None]:
        """A place for one handshake, to be left within `PLACE_S`; waits for it, in turn.

        Args:
            network: whose handshake it is (`addresses.network_of`): whoever waits beside its own
                others does so in a queue of its own, in nobody else's way.
        """
        share = self._share_of(network)
        share.users += 1
        try:
            async with share.places, self._places:
                self.under_way += 1
                try:
                    yield
                finally:
                    self.under_way -= 1
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[network]

    def _share_of(self, network: str | None) -> _Share:
        share = self._shares.get(network)
        if share is None:
            # Who has no network, on a UNIX socket, has all the places.
            most = self._most_of_one if network is not None else self._most
            share = self._shares[network] = _Share(asyncio.Semaphore(most))
        return share

    @contextlib.contextmanager
    def linger(self, network: str | None = None) -> Iterator[bool]:
        """A place for one lingering close; false where there is none left for this network."""
        now = self._lingering_now
        if now.total() >= self._lingering or (
            network is not None and now[network] >= self._lingering_of_one
        ):
            yield False
            return
        now[network] += 1
        try:
            yield True
        finally:
            now[network] -= 1
            if not now[network]:
                del now[network]


def _half(most: int) -> int:
    return max(1, most // 2)
