"""DER (X.690) by hand: the few pieces for which `cryptography` has no word, or takes too long."""

from __future__ import annotations

from typing import Final

__all__ = [
    "BIT_STRING",
    "GENERALIZED_TIME",
    "INTEGER",
    "OBJECT_IDENTIFIER",
    "OCTET_STRING",
    "SEQUENCE",
    "SET",
    "UTC_TIME",
    "integer",
    "pieces",
    "tlv",
]

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

_LONG = 0x80
_MOST_LENGTH_OCTETS = 4


def tlv(tag: int, *contents: bytes) -> bytes:
    """One element: its tag, the length of its contents, and these one after the other."""
    content = b"".join(contents)
    length = len(content)
    if length < _LONG:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG | len(size))) + size + content


def integer(value: int) -> bytes:
    """A number that is not negative."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def pieces(element: bytes) -> list[bytes]:
    """The elements that a constructed one is made of, each as it stands, tag and length included.

    Raises:
        ValueError: they do not fill it exactly, or it is no element.
    """
    start, end = _content(element, 0)
    if end != len(element):
        raise ValueError("an element does not end where its length says")
    found = []
    while start < end:
        _, after = _content(element, start)
        found.append(element[start:after])
        start = after
    if start != end:
        raise ValueError("an element goes on behind the one that it is part of")
    return found


def _content(octets: bytes, at: int) -> tuple[int, int]:
    """Where the contents of the element at ``at`` begin and end; tags are of one octet."""
    head = octets[at : at + 2]
    if len(head) < 2:
        raise ValueError("an element has no length")
    length, start = head[1], at + 2
    if length >= _LONG:
        count = length - _LONG
        if not 0 < count <= _MOST_LENGTH_OCTETS:
            raise ValueError("an element has a length that DER does not know, or is too long")
        length, start = int.from_bytes(octets[start : start + count]), start + count
    return start, start + length
