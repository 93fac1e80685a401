"""What a session needs of the TLS connection below it, and what it allows itself.

`tls.Stream` is such a channel; the tests have one in memory. TLS 1.2 alone, ALPN and the extended
master secret (RFC 7627) are what makes its tls-unique (RFC 5929) fit to be bound to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from asynctls.errors import HandshakeError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ALPN", "Channel", "Limits", "require_binding"]

ALPN: Final = "asynctls/1"
"""The ALPN label (RFC 7301) of this protocol and of its version."""


class Channel(Protocol):
    """A TLS connection whose handshake is done and whose peer was admitted."""

    @property
    def peer_address(self) -> str:
        """Where the peer is, for logs."""

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's verified certificate, DER."""

    @property
    def tls_unique(self) -> bytes | None:
        """RFC 5929's channel binding."""

    @property
    def alpn(self) -> str | None:
        """The application protocol agreed on."""

    @property
    def extended_master_secret(self) -> bool:
        """Whether the master secret is bound to the handshake."""

    async def read(self, n: int, /) -> bytes:
        """At most ``n`` bytes; ``b""`` at a clean end, TruncatedError at any other.

        They come of one TLS record, or of several of which all but the last are full.
        """

    def deliver(self, readable: Callable[[], None], /) -> None:
        """From now on ``readable`` is called when `read_now` may have something, and at the end."""

    def read_now(self, n: int, /) -> tuple[bytes | None, bool]:
        """As `read`, or None: not yet; and whether there may be more."""

    def write(self, plaintext: bytes, /) -> int:
        """Encrypts and queues; returns the TLS bytes that this made."""

    @property
    def congested(self) -> bool:
        """Whether `drain` would wait."""

    async def drain(self) -> None:
        """Waits while too much is queued."""

    async def flush(self) -> None:
        """Waits until the kernel has taken all that was written, however long."""

    def allow_stalls(self) -> None:
        """A peer that takes nothing for long is slow and not dead."""

    async def close(self) -> None:
        """Sends what is queued and close_notify, and ends the connection; bounded."""

    def abort(self) -> None:
        """Ends the connection at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a session takes and how long it waits.

    ``max_message_bytes`` is announced to the peer. The receive queue holds ``queue_messages`` and
    ``queue_bytes``, and a multiple of both while a receipt is awaited (docs/session-protocol.md).
    """

    max_message_bytes: int = 16 * 1024 * 1024
    handshake_timeout_s: float = 10.0
    receipt_timeout_s: float = 60.0
    close_timeout_s: float = 5.0
    queue_messages: int = 256
    queue_bytes: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        if not 0 <= self.max_message_bytes < 1 << 32:
            raise ValueError(f"max_message_bytes is {self.max_message_bytes}: it must fit a u32")


def require_binding(channel: Channel, *, peer_certificate: bytes) -> None:
    """Checks that a session can be bound to the channel.

    Raises:
        HandshakeError: it cannot be, and why.
    """
    if channel.alpn != ALPN:
        raise HandshakeError(
            f"no session without ALPN {ALPN!r}: {channel.peer_address} agreed on {channel.alpn!r}"
        )
    if not channel.extended_master_secret:
        raise HandshakeError(
            f"no session without the extended master secret (RFC 7627), which "
            f"{channel.peer_address} does not support: its TLS library is too old"
        )
    if not channel.tls_unique:
        raise HandshakeError(
            f"no session without tls-unique (RFC 5929): the connection with "
            f"{channel.peer_address} is not TLS 1.2"
        )
    if channel.peer_certificate != peer_certificate:
        raise HandshakeError(
            f"the certificate that {channel.peer_address} showed is not the one that was admitted"
        )
