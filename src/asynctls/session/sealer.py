"""Makes the frames of one direction of asynctls/1: no socket and no state machine.

As docs/session-protocol.md says (COSE_Mac0 of RFC 9052 in a CBOR sequence, RFC 8742).
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from asynctls import mac
from asynctls.errors import SessionClosedError
from asynctls.session.shape import (
    EMPTY_MAP,
    FIXED,
    MAC_START,
    MAX_ERROR_TEXT,
    NUMBERING,
    SEQUENCES,
    SHAPES,
    TAG_HEAD,
    Shape,
    byte_string_head,
    external_aad,
)
from asynctls.session.states import FrameType

if TYPE_CHECKING:
    from asynctls.mac import Secret
    from asynctls.session.states import Role

__all__ = ["Sealer"]

_join: Final = b"".join
_KEY: Final = FrameType.KEY << 8
_DATA: Final = FrameType.DATA << 8
_NO_SHAPE: Final = Shape(1, 0)
_shape_of: Final = SHAPES.get
_numbering: Final = NUMBERING.pack


class Sealer:
    """Makes the frames of one direction: numbers them and tags them.

    ``sender`` is the direction, ``key`` the sender's, ``sequence`` the number of the next frame.
    ``mac_ns`` is the time spent in HMAC so far, in nanoseconds.
    """

    __slots__ = ("_external_aad", "_keyed", "_sequence", "mac_ns")

    def __init__(self, sender: Role, key: Secret, *, sequence: int = 0) -> None:
        self._external_aad = external_aad(sender)
        self._keyed = mac.keyed(key.reveal())
        self._keyed.update(MAC_START)
        self._sequence = sequence
        self.mac_ns = 0

    @property
    def sequence(self) -> int:
        """The sequence number of the next frame."""
        return self._sequence

    def key(self, secret: Secret, *, max_message_bytes: int) -> bytes:
        """A KEY frame."""
        return self._seal(_KEY, secret.reveal() + max_message_bytes.to_bytes(4, "big"))

    def ready(self, *, max_message_bytes: int) -> bytes:
        """A READY frame."""
        return self._seal(FrameType.READY << 8, max_message_bytes.to_bytes(4, "big"))

    def data(
        self, payload: bytes | memoryview, *, more: bool = False, receipt_wanted: bool = False
    ) -> bytes:
        """A DATA frame: a message, or with ``more`` a piece of one.

        Raises:
            ValueError: a payload or a pair of flags that no receiver takes.
        """
        kind = _DATA | more | receipt_wanted << 1
        least, most = _shape_of(kind, _NO_SHAPE)
        if not least <= len(payload) <= most:
            raise ValueError(f"no DATA frame has {len(payload)} bytes and flags {kind & 0xFF}")
        return self._seal(kind, payload)

    def receipt(self, message_sequence: int) -> bytes:
        """A RECEIPT frame for the message whose last frame had that sequence number."""
        return self._seal(FrameType.RECEIPT << 8, message_sequence.to_bytes(8, "big"))

    def close(self) -> bytes:
        """A CLOSE frame."""
        return self._seal(FrameType.CLOSE << 8, b"")

    def error(self, code: int, text: str) -> bytes:
        """An ERROR frame; a text beyond 1,024 bytes is cut at a character."""
        short = text.encode()[:MAX_ERROR_TEXT].decode(errors="ignore")
        return self._seal(FrameType.ERROR << 8, code.to_bytes(2, "big") + short.encode())

    def goaway(self) -> bytes:
        """A GOAWAY frame."""
        return self._seal(FrameType.GOAWAY << 8, b"")

    def _seal(self, kind: int, payload: bytes | memoryview) -> bytes:
        sequence = self._sequence
        if sequence >= SEQUENCES:
            raise SessionClosedError("all sequence numbers of this direction are used: reconnect")
        self._sequence = sequence + 1
        numbering = _numbering(kind, sequence)
        head = byte_string_head(len(payload))
        before = _join((numbering, self._external_aad, head))
        began = perf_counter_ns()
        # Not joined to the payload: a large one is not copied for that.
        tag = self._keyed.copy()
        tag.update(before)
        tag.update(payload)
        made = tag.finalize()
        self.mac_ns += perf_counter_ns() - began
        return _join((FIXED, numbering, EMPTY_MAP, head, payload, TAG_HEAD, made))
