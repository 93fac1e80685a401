"""An address that is kept for workers, each of which listens there by a socket of its own.

The supervisor's own sockets there are bound and never listen: the kernel gives them no connection,
and no other user the port, also while no worker lives.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import msgspec

from asynctls.runtime.inherited import inherited_sockets
from asynctls.runtime.listening import address_of_socket, bind, told_as_faults

if TYPE_CHECKING:
    from asynctls.config import Address

__all__ = ["Reserved", "reserve"]


class Reserved(msgspec.Struct, frozen=True):
    """What is kept.

    Attributes:
        setting: the key that the address stands under, by which workers ask for it.
        addresses: the real ones.
    """

    setting: str
    addresses: tuple[Address, ...]
    _sockets: tuple[socket.socket, ...]
    _handed_over: bool

    def sockets(self) -> list[socket.socket]:
        """Another worker's, each to be closed once it has inherited them.

        Raises:
            OSError: there can be no more of them.
        """
        made: list[socket.socket] = []
        try:
            for one in self._sockets:
                # What was handed over listens already; all workers accept from that.
                made.append(one.dup() if self._handed_over else _beside(one))  # noqa: PERF401
        except OSError:
            for one in made:
                one.close()
            raise
        return made

    def close(self) -> None:
        """The address is kept no longer; workers that listen go on."""
        for one in self._sockets:
            one.close()


async def reserve(address: Address, *, role: str, setting: str) -> Reserved:
    """Keeps an address, or takes the sockets that were handed over for this setting.

    Raises:
        ConfigError: for the key ``<role>.<setting>`` when the address cannot be had.
    """
    with told_as_faults(f"{role}.{setting}", address):
        taken = inherited_sockets().take(setting, socket.AF_INET, socket.AF_INET6)
        if not taken:
            # Shared, an address that another program of this user's listens on would be no fault.
            for one in await bind(address):
                one.close()
        sockets = taken or await bind(address, shared=True)
    return Reserved(setting, tuple(map(address_of_socket, sockets)), tuple(sockets), bool(taken))


def _beside(one: socket.socket) -> socket.socket:
    made = socket.socket(one.family, one.type, one.proto)
    try:
        for level, option in (
            (socket.SOL_SOCKET, socket.SO_REUSEADDR),
            (socket.SOL_SOCKET, socket.SO_REUSEPORT),
            *([(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)] if one.family == socket.AF_INET6 else []),
        ):
            made.setsockopt(level, option, 1)
        made.bind(one.getsockname())
    except OSError:
        made.close()
        raise
    return made
