"""Dead peers are found by TCP itself, so that a slow application is not mistaken for one.

Keepalive (RFC 9293, section 3.8.4) finds an idle peer that is gone in about a minute. The user
time-out (RFC 5482; Linux) also ends a connection whose peer takes nothing for that long while we
have more to send.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["allow_stalls", "watch_for_death"]

_KEEPALIVE_IDLE_S = 30
_KEEPALIVE_INTERVAL_S = 10
_KEEPALIVE_PROBES = 3
_USER_TIMEOUT_MS = 60_000


def watch_for_death(writer: asyncio.StreamWriter) -> None:
    """Have TCP end a connection whose peer is gone, or takes nothing, in about a minute."""
    options = [(socket.SOL_SOCKET, "SO_KEEPALIVE", 1)]
    options += [
        (socket.IPPROTO_TCP, name, value)
        for name, value in (
            ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_S),
            ("TCP_KEEPALIVE", _KEEPALIVE_IDLE_S),
            ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL_S),
            ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
            ("TCP_USER_TIMEOUT", _USER_TIMEOUT_MS),
        )
    ]
    _set(writer, options)


def allow_stalls(writer: asyncio.StreamWriter) -> None:
    """Take back the user time-out: a peer may take nothing for hours, as behind a pager.

    One that is gone while we have more to send is then found as the system does it (on Linux after
    about a quarter of an hour); one that is gone while all is quiet still within a minute.
    """
    _set(writer, [(socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 0)])


def _set(writer: asyncio.StreamWriter, options: list[tuple[int, str, int]]) -> None:
    connection = writer.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # uvloop asks for the socket anew, which a peer that resets at once has closed (ValueError).
    with contextlib.suppress(OSError, ValueError):
        for level, name, value in options:
            # Each platform has some of them; macOS calls TCP_KEEPIDLE by TCP_KEEPALIVE's name.
            if hasattr(socket, name):
                connection.setsockopt(level, getattr(socket, name), value)
