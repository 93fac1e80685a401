"""Dead peers are found by TCP itself, so that a slow application is not mistaken for one.

Keepalive (RFC 9293, section 3.8.4) finds an idle peer that is gone: after half of the time it is
asked, and then three times more. The user time-out (RFC 5482; Linux) also ends a connection whose
peer takes nothing for that long while we have more to send; it overrules the count of keepalive's
questions, hence both are one time.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import asyncio

__all__ = ["KEEPALIVE_S", "allow_stalls", "watch_for_death"]

KEEPALIVE_S = 60.0
"""How long a peer may be silent to TCP before it counts as dead, unless it is said otherwise."""

_PROBES = 3

_Option: TypeAlias = tuple[int, int, int]


def watch_for_death(
    writer: asyncio.StreamWriter, *, keepalive_s: float = KEEPALIVE_S, stalls: bool = False
) -> None:
    """Have TCP end a connection whose peer is gone, or takes nothing, for `keepalive_s`.

    With `stalls` the peer may take nothing for as long as it likes (`allow_stalls`).
    """
    _set(writer, _options(keepalive_s, 0.0 if stalls else keepalive_s))


def allow_stalls(writer: asyncio.StreamWriter) -> None:
    """Take back the user time-out: a peer may take nothing for hours, as behind a pager.

    One that is gone while we have more to send is then found as the system does it (on Linux after
    about a quarter of an hour); one that is gone while all is quiet still within a minute.
    """
    _set(writer, _supported(("TCP_USER_TIMEOUT", 0)))


# Connections come by the hundred, and the times that they are given are few.
@lru_cache(maxsize=16)
def _options(keepalive_s: float, user_timeout_s: float) -> list[_Option]:
    interval = max(1, int(keepalive_s / (2 * _PROBES)))
    idle = max(1, int(keepalive_s) - _PROBES * interval)
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *_supported(
            ("TCP_KEEPIDLE", idle),
            ("TCP_KEEPALIVE", idle),
            ("TCP_KEEPINTVL", interval),
            ("TCP_KEEPCNT", _PROBES),
            ("TCP_USER_TIMEOUT", int(user_timeout_s * 1000)),
        ),
    ]


def _supported(*options: tuple[str, int]) -> list[_Option]:
    # Each platform has some of them; macOS calls TCP_KEEPIDLE by TCP_KEEPALIVE's name.
    return [
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in options
        if hasattr(socket, name)
    ]


def _set(writer: asyncio.StreamWriter, options: list[_Option]) -> None:
    connection = writer.get_extra_info("socket")
    family = socket.AF_UNSPEC if connection is None else connection.family
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    try:
        # uvloop's own makes such a one anew for each option.
        one = socket.socket(
            family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=connection.fileno()
        )
        try:
            for option in options:
                one.setsockopt(*option)
        finally:
            one.detach()
    except (OSError, ValueError):
        # A peer that resets at once has closed it (with uvloop ValueError).
        pass
