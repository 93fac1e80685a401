"""How many connections there may be: in all, from one address, and in the whole process.

Asked before anything is spent on a connection. One that is refused costs a socket for a moment and
at most one line of the log in ten seconds.
"""

from __future__ import annotations

import resource
import threading
from enum import StrEnum

__all__ = ["MOST", "Limit", "Places"]

MOST = 100_000
"""More connections than this are never taken, whatever the system allows."""

# What the process needs besides: ledger, logs, files that are read, metrics, connections to a TTP.
_DESCRIPTORS_KEPT = 64


class Limit(StrEnum):
    """What a connection was over."""

    IN_ALL = "in all"
    PER_ADDRESS = "per address"
    OPEN_FILES = "open files"


class _Sockets:
    """The connections' sockets of this process, whatever service they belong to."""

    def __init__(self) -> None:
        # A process can have two loops in two threads; they share its files.
        self._lock = threading.Lock()
        self._open = 0

    def take(self, number: int) -> bool:
        with self._lock:
            if self._open + number > open_files():
                return False
            self._open += number
            return True

    def leave(self, number: int) -> None:
        with self._lock:
            self._open -= number

    def recount(self, number: int) -> None:
        with self._lock:
            self._open += number


_SOCKETS = _Sockets()


class Places:
    """The places of one listener. A connection takes one, and leaves it at its end."""

    def __init__(
        self, most: int | None = None, *, per_address: int | None = None, sockets: int = 1
    ) -> None:
        """All of them are free.

        Args:
            most: in all; None: as many as open files allow.
            per_address: for one address (``tls.network_of``); None: half of them all, so that no
                single one can keep everybody else out.
            sockets: how many a connection has: two where it is carried to another one; none where
                the files that are kept for the process suffice.
        """
        self._sockets = sockets
        self._taken = 0
        self._by_network: dict[str, int] = {}
        self.change(most, per_address=per_address, sockets=sockets)

    def change(self, most: int | None, *, per_address: int | None, sockets: int) -> None:
        """From now on there are so many; who has a place keeps it, also where there are fewer.

        Args:
            most: as before.
            per_address: likewise.
            sockets: likewise, and counted so for those that are there.
        """
        by_files = MOST if sockets == 0 else max(1, open_files() // sockets)
        in_all = by_files if most is None else most
        self._most = {
            Limit.IN_ALL: in_all,
            Limit.PER_ADDRESS: max(1, in_all // 2) if per_address is None else per_address,
            Limit.OPEN_FILES: by_files,
        }
        _SOCKETS.recount(self._taken * (sockets - self._sockets))
        self._sockets = sockets

    def most(self, limit: Limit) -> int:
        """The number that a limit is."""
        return self._most[limit]

    def take(self, network: str | None) -> Limit | None:
        """None: there was a place, and it is taken. Else: what there are too many of.

        Args:
            network: what counts as one address; None is not counted by address.
        """
        if self._taken >= self._most[Limit.IN_ALL]:
            return Limit.IN_ALL
        of_one = 0 if network is None else self._by_network.get(network, 0)
        if of_one >= self._most[Limit.PER_ADDRESS]:
            return Limit.PER_ADDRESS
        if not _SOCKETS.take(self._sockets):
            return Limit.OPEN_FILES
        self._taken += 1
        if network is not None:
            self._by_network[network] = of_one + 1
        return None

    def leave(self, network: str | None) -> None:
        """Gives back the place that ``take`` gave to the same network."""
        _SOCKETS.leave(self._sockets)
        self._taken -= 1
        if network is not None:
            left = self._by_network.pop(network) - 1
            if left:
                self._by_network[network] = left


def open_files() -> int:
    """How many files of this process can be connections."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(1, min(soft - _DESCRIPTORS_KEPT, MOST))
