"""The one shape of a frame of asynctls/1, byte for byte.

A frame is a tagged COSE_Mac0 structure (RFC 9052, section 6.2) in one fixed deterministic
encoding (RFC 8949). A receiver takes exactly this one: what a general CBOR decoder would also
take (longer integer forms, another map order, indefinite lengths) is refused here by a few
comparisons. A frame is judged from the left and the first thing wrong with it decides, so that
the verdict hangs on its bytes alone and never on how they were cut up on the way.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from asynctls.errors import MalformedError, MessageTooLargeError
from asynctls.mac import TAG_BYTES
from asynctls.session.keys import SECRET_BYTES
from asynctls.session.states import FrameType, Role

__all__ = [
    "EMPTY_MAP",
    "FIXED",
    "HEAD_MOST",
    "MAC_START",
    "MAX_ERROR_TEXT",
    "MAX_PAYLOAD",
    "MORE",
    "NUMBERING",
    "RECEIPT_WANTED",
    "SEQUENCES",
    "SHAPES",
    "TAG_HEAD",
    "TRAILER_BYTES",
    "Shape",
    "byte_string_head",
    "external_aad",
    "read_head",
]

MAX_PAYLOAD: Final = 65_536
"""The largest payload of a frame, in bytes."""
MAX_ERROR_TEXT: Final = 1_024
"""The longest text of an ERROR, in bytes of UTF-8: it goes into logs."""
SEQUENCES: Final = 1 << 64
"""How many sequence numbers a direction has."""

MORE: Final = 1
RECEIPT_WANTED: Final = 2

FIXED: Final = bytes.fromhex("d18453a201053a000100004a")
"""17([<< {1: 5, -65537: h'type flags sequence'} >>, {}, payload, tag]), up to the type."""
EMPTY_MAP: Final = b"\xa0"
TAG_HEAD: Final = b"\x58\x20"
TRAILER_BYTES: Final = len(TAG_HEAD) + TAG_BYTES
MAC_START: Final = b"\x84\x64MAC0" + FIXED[2:]
"""["MAC0", << the same map >>, external_aad, payload], up to the type."""
NUMBERING: Final = struct.Struct(">HQ")
"""Type and flags as one number, then the sequence."""

_HEAD = struct.Struct(">12sHQH")  # fixed, type and flags, sequence, empty map and payload's head
_HEAD_BYTES: Final = _HEAD.size
_unpack_head = _HEAD.unpack_from
HEAD_MOST: Final = _HEAD_BYTES + 8
"""The most bytes that can stand before a payload, those of refused frames included."""
_BYTE_STRING: Final = 0x40
_MAP_AND_BYTE_STRING: Final = EMPTY_MAP[0] << 8 | _BYTE_STRING
# RFC 8949, section 3: a head's low bits are the length itself up to 23; those from 24 on say that
# it follows in 1, 2, 4 or 8 bytes. So each has that many more, and the least length for which it
# is the shortest.
_WIDTHS: Final = {24: (1, 24), 25: (2, 1 << 8), 26: (4, 1 << 16), 27: (8, 1 << 32)}
_FORMS: Final = {
    _MAP_AND_BYTE_STRING | low: _WIDTHS.get(low, (0, low)) for low in (*range(24), *_WIDTHS)
}
_SHORT_HEADS: Final = tuple(
    bytes((_BYTE_STRING + n,) if n < 24 else (0x58, n)) for n in range(1 << 8)
)


class Shape(NamedTuple):
    """What a type with its flags may carry: ``least`` to ``most`` bytes of payload."""

    least: int
    most: int


SHAPES: Final = {
    FrameType.KEY << 8: Shape(SECRET_BYTES + 4, SECRET_BYTES + 4),
    FrameType.READY << 8: Shape(4, 4),
    FrameType.DATA << 8: Shape(0, MAX_PAYLOAD),
    # A piece of no bytes carries nothing, and could keep a receiver busy without end.
    FrameType.DATA << 8 | MORE: Shape(1, MAX_PAYLOAD),
    FrameType.DATA << 8 | RECEIPT_WANTED: Shape(0, MAX_PAYLOAD),
    FrameType.RECEIPT << 8: Shape(8, 8),
    FrameType.CLOSE << 8: Shape(0, 0),
    FrameType.ERROR << 8: Shape(2, 2 + MAX_ERROR_TEXT),
    FrameType.GOAWAY << 8: Shape(0, 0),
}
"""By type and flags as one number; what is not in it is no frame."""
_shape_of: Final = SHAPES.get
_form_of: Final = _FORMS.get


def external_aad(sender: Role) -> bytes:
    """The direction's label as a CBOR byte string."""
    label = b"asynctls/1 " + sender.value.encode()
    return byte_string_head(len(label)) + label


def byte_string_head(length: int) -> bytes:
    """The shortest CBOR head of a byte string of ``length`` bytes (RFC 8949, section 3)."""
    if length < 1 << 8:
        return _SHORT_HEADS[length]
    if length < 1 << 16:
        return b"\x59" + length.to_bytes(2, "big")
    return b"\x5a" + length.to_bytes(4, "big")


def _fault(start: bytes) -> str:
    """What is wrong with the bytes up to the payload's head, however few are there; or nothing."""
    fixed = start[: len(FIXED)]
    if fixed != FIXED[: len(fixed)]:
        return "this is not a frame of asynctls/1"
    if len(start) > 12 and not 1 <= start[12] <= FrameType.GOAWAY:
        return f"no frame has type {start[12]}"
    if len(start) > 13 and start[12] << 8 | start[13] not in SHAPES:
        return f"no {FrameType(start[12]).name} frame has flags {start[13]}"
    if len(start) > 22 and start[22:23] != EMPTY_MAP:
        return "a frame's unprotected header is not the empty map"
    return ""


def read_head(buffer: bytes, at: int = 0) -> tuple[int, int, int, int] | None:
    """Everything before the payload, or None while too little is there to tell.

    What is given is the kind (type and flags as one number), the sequence, and the payload's
    place in ``buffer`` and length.

    A frame begins ``at`` there; at most `HEAD_MOST` bytes of it are looked at.

    Raises:
        MalformedError: the frame has not the one shape.
        MessageTooLargeError: its payload is beyond `MAX_PAYLOAD`.
    """
    payload_at = at + _HEAD_BYTES
    if len(buffer) < payload_at:
        if fault := _fault(buffer[at:]):
            raise MalformedError(fault)
        return None
    fixed, kind, sequence, map_and_head = _unpack_head(buffer, at)
    shape, form = _shape_of(kind), _form_of(map_and_head)
    if shape is None or form is None or fixed != FIXED:
        no_string = "a frame's payload is not a byte string of a stated length"
        raise MalformedError(_fault(buffer[at:payload_at]) or no_string)
    width, length = form
    if width:
        shortest_for = length
        length_at = payload_at
        payload_at += width
        if len(buffer) < payload_at:
            return None
        length = (
            buffer[length_at] if width == 1 else int.from_bytes(buffer[length_at:payload_at], "big")
        )
        if length < shortest_for:
            raise MalformedError("a frame's length is not in its shortest form")
        if length > MAX_PAYLOAD:
            raise MessageTooLargeError(
                f"a frame says {length} bytes; more than {MAX_PAYLOAD} are never taken"
            )
    least, most = shape
    if not least <= length <= most:
        raise MalformedError(f"no {FrameType(kind >> 8).name} frame carries {length} bytes")
    return kind, sequence, payload_at, length
