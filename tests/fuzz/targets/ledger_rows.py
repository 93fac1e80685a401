"""The ledger's rows and heads (`ttp.chain`): one encoding each, read back by another reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.ttp.chain import Head, Value, canonical, follow, holds, link
from tests.fuzz.texts import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEY = b"k" * 32


def run(data: bytes) -> bool:
    """A head as a person gives it, and the columns of a row between zeros."""
    taken = _taken_as_head(text_of(data))
    row = dict(_columns(data))
    try:
        encoded = canonical(row)
    except UnicodeEncodeError:
        return taken
    assert _taken_apart(encoded) == {
        name: value for name, value in row.items() if value is not None
    }
    first = Head(0, bytes(32))
    linked = {**row, "sequence": 1, "previous": first.mac, "mac": link(_KEY, 1, first.mac, row)}
    assert holds(_KEY, linked)
    assert follow(_KEY, first, linked).sequence == 1
    assert not holds(_KEY, {**linked, "another": 1})
    return True


def _taken_as_head(text: str) -> bool:
    try:
        head = Head.parse(text)
    except ValueError as error:
        assert str(error)
        return False
    assert Head.parse(str(head)) == head
    assert head.sequence > 0
    return True


def _columns(data: bytes) -> Iterator[tuple[str, Value]]:
    """A name of one letter, a kind, and a value, for each part."""
    for part in data.split(b"\0"):
        if len(part) < 2:
            continue
        name, kind, rest = chr(part[0]), part[1] % 4, part[2:]
        if kind == 0:
            yield name, rest
        elif kind == 1:
            yield name, text_of(rest)
        elif kind == 2:
            yield name, int.from_bytes(rest[:8], "big", signed=True)
        else:
            yield name, None


def _taken_apart(encoded: bytes) -> dict[str, Value]:
    row: dict[str, Value] = {}
    while encoded:
        name, encoded = _counted(encoded)
        kind = encoded[:1]
        content, encoded = _counted(encoded[1:])
        assert name.decode() not in row
        match kind:
            case b"i":
                row[name.decode()] = int.from_bytes(content, "big", signed=True)
            case b"t":
                row[name.decode()] = content.decode()
            case _:
                row[name.decode()] = content
    return row


def _counted(encoded: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(encoded[:4], "big")
    assert 4 + length <= len(encoded)
    return encoded[4 : 4 + length], encoded[4 + length :]


def seeds() -> dict[str, bytes]:
    """Heads, and rows with each kind of value."""
    return {
        "head": b"7:" + b"ab" * 32,
        "row": b"a\0" + b"a\x04bytes\0b\x05text\0c\x06\x01\x02\0d\x07",
        "same-start": b"ab\x04\0a\x05b\0",
        "no-head": b"0:" + b"ab" * 32 + b"\0a\x05\xff",
        "no-such-number": b"9" * 5000 + b":" + b"ab" * 32 + b"\0a\x05\xff",
    }
