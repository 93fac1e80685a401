"""How much and how long: the bounds that several roles have in common, each declared once."""

from datetime import timedelta
from typing import Annotated, TypeAlias

from asynctls.config.about import About

__all__ = [
    "CloseTimeout",
    "HandshakeTimeout",
    "Handshakes",
    "Keepalive",
    "MaxConnections",
    "MaxConnectionsPerAddress",
    "MaxMessage",
    "QueueBytes",
    "QueueMessages",
    "ReceiptTimeout",
    "SessionTimeout",
]

_GIBIBYTE = 2**30
_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)

MaxConnections: TypeAlias = Annotated[
    int | None,
    About("connections at once, more are closed; unset: as many as open files allow", 1, 100_000),
]
MaxConnectionsPerAddress: TypeAlias = Annotated[
    int | None,
    About("of them, those from one address (IPv6: from one /64); unset: half of them", 1, 100_000),
]
Handshakes: TypeAlias = Annotated[
    int, About("TLS handshakes that may be under way at once; others wait", 1, 10_000)
]
MaxMessage: TypeAlias = Annotated[
    int, About("largest message that is taken from a peer, in bytes", 1, _GIBIBYTE)
]
QueueMessages: TypeAlias = Annotated[
    int, About("messages received before the application takes them; then the peer waits", 1, 65536)
]
QueueBytes: TypeAlias = Annotated[
    int, About("the same in bytes; one message always has room", 1, _GIBIBYTE)
]
HandshakeTimeout: TypeAlias = Annotated[
    timedelta, About("how long a peer may take for its TLS handshake", _SECOND, _HOUR)
]
SessionTimeout: TypeAlias = Annotated[
    timedelta, About("how long a peer may take to open its session, after TLS", _SECOND, _HOUR)
]
ReceiptTimeout: TypeAlias = Annotated[
    timedelta, About("how long a peer may take to acknowledge a message", _SECOND, _DAY)
]
CloseTimeout: TypeAlias = Annotated[
    timedelta, About("how long a peer may take to end its session, once we did", _SECOND, _HOUR)
]
# Of the least, TCP's own unit of a second leaves half; the most is what Linux takes.
Keepalive: TypeAlias = Annotated[
    timedelta,
    About("how long a peer may be silent to TCP before it is dead", 10 * _SECOND, 12 * _HOUR),
]
