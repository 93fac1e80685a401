"""Whom a connection is with: its peer's address, for people and for counting."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["address_of", "network_of"]

# A site, and often one machine, has a whole /64 to choose addresses from (RFC 6177; RFC 4291,
# section 2.5.1).
_IPV6_BITS = 64


def address_of(writer: asyncio.StreamWriter) -> str:
    """The peer's address as HOST:PORT, `[::1]:PORT` for IPv6."""
    name = _peer_name(writer)
    if not isinstance(name, tuple):
        # A UNIX socket's path, or nothing: the peer was gone before it could be asked for.
        return str(name or "an unknown address")
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def network_of(writer: asyncio.StreamWriter) -> str | None:
    """What counts as one address: an IPv4 address, or the /64 that an IPv6 address is of.

    None for a UNIX socket, and for a peer that was gone before it could be asked for.
    """
    name = _peer_name(writer)
    if not isinstance(name, tuple):
        return None
    host = str(name[0])
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _IPV6_BITS), strict=False))


def _peer_name(writer: asyncio.StreamWriter) -> object:
    try:
        return writer.get_extra_info("peername")
    except (OSError, ValueError, AttributeError):
        # uvloop asks the socket, which a peer that resets at once has closed already.
        return None
