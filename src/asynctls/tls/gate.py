"""What a service has under way at once, and how much of it one address may have.

The decision and what it costs: docs/decisions/handshake-places.md.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

__all__ = ["PLACE_S", "Gate"]

PLACE_S = 0.5
"""How long a handshake has its place at a stretch: it ends in that, or its peer lets us wait."""


class Gate:
    """Places for handshakes, and for closes that linger; one address gets half of either.

    An address is what `addresses.network_of` says; None, on a UNIX socket, may have all of them.

    Args:
        handshakes: how many handshakes may be under way; others wait, within their time-out.
        lingering: how many closes may linger; past that a connection is closed at once (and a peer
            that still sends may miss its alert).

    Attributes:
        closes: the places of those that linger.
    """

    def __init__(self, handshakes: int, lingering: int = 64) -> None:
        self._handshakes = Shares(handshakes)
        self.closes = Shares(lingering)
        # Whoever waits beside its own others does so in a queue of its own, in nobody else's way.
        self._waiting: OrderedDict[str | None, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def under_way(self) -> int:
        """Handshakes under way now."""
        return self._handshakes.taken

    def enter(self, network: str | None = None) -> asyncio.Future[None] | None:
        """A place for one handshake, to be left within `PLACE_S`.

        Returns:
            None: it is there. Else: it is there once this is done. Whoever waits for that no longer
            does not cancel it, but calls `withdraw`.
        """
        if self._handshakes.take(network):
            return None
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(network, deque()).append(place)
        return place

    def leave(self, network: str | None = None) -> None:
        """Give the place of a handshake back, to whoever of the next address waits longest."""
        self._handshakes.leave(network)
        for each, queue in self._waiting.items():
            if self._handshakes.take(each):
                queue.popleft().set_result(None)
                if queue:
                    self._waiting.move_to_end(each)
                else:
                    del self._waiting[each]
                return

    def withdraw(self, place: asyncio.Future[None], network: str | None = None) -> None:
        """Wait no longer for what `enter` gave."""
        if place.done():
            self.leave(network)
            return
        self._waiting[network].remove(place)
        if not self._waiting[network]:
            del self._waiting[network]


class Shares:
    """So many places, of which one address has half at the most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_one = max(1, most // 2)
        self._of: dict[str | None, int] = {}
        self.taken = 0

    def take(self, network: str | None) -> bool:
        """A place, until `leave`; false where there is none left."""
        of_one = self._of.get(network, 0)
        if self.taken >= self._most or (network is not None and of_one >= self._most_of_one):
            return False
        self.taken += 1
        self._of[network] = of_one + 1
        return True

    def leave(self, network: str | None) -> None:
        """Give it back."""
        self.taken -= 1
        left = self._of[network] - 1
        if left:
            self._of[network] = left
        else:
            del self._of[network]
