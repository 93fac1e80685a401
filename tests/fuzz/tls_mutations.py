"""Flights of a TLS handshake changed with an eye to what they are made of (RFC 5246, 6.2.1, 7.4).

Most changes keep the lengths around them right, so that they reach what is behind the framing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.fuzz.mutations import changed

if TYPE_CHECKING:
    import random

__all__ = ["changed_flight"]

_HEADER: Final = 5
_HANDSHAKE: Final = 22
_Record = tuple[int, bytes, bytes]
_ODD_RECORDS: Final[tuple[_Record, ...]] = (
    (22, b"\3\3", b""),
    (22, b"\3\3", b"\0\0\0\0"),
    (21, b"\3\3", b"\1\0"),
    (21, b"\3\3", b"\2\x28"),
    (21, b"\3\3", b"\1"),
    (20, b"\3\3", b"\1"),
    (23, b"\3\3", bytes(40)),
    (24, b"\3\3", b"\1\x40\0"),
    (22, b"\3\3", b"\1\xff\xff\xff"),
    (0x80, b"\x2e\1", b"\3\1"),
)


def changed_flight(flight: bytes, chance: random.Random) -> bytes:
    """``flight`` with one change, or two."""
    for _ in range(chance.choice((1, 1, 2))):
        flight = _change(flight, chance)
    return flight


def _change(flight: bytes, chance: random.Random) -> bytes:
    records = _records(flight)
    at = chance.randrange(len(records)) if records else 0
    match chance.randrange(8) if records else 0:
        case 0:
            return changed(flight, chance)
        case 1 | 2 | 3:
            return _changed_messages(records, chance)
        case 4:
            # One record less, one more, or two the other way round.
            records[at : at + 2] = chance.choice(
                ([], [*records[at : at + 2], records[at]], records[at : at + 2][::-1])
            )
        case 5:
            records.insert(at, chance.choice(_ODD_RECORDS))
        case 6:
            content, version, body = records[at]
            records[at] = (chance.randrange(256), version, body)
            if chance.random() < 0.5:
                records[at] = (content, bytes((3, chance.randrange(5))), body)
        case _:
            size = chance.choice((1, 2, 50))
            content, version, body = records[at]
            pieces = [body[i : i + size] for i in range(0, min(len(body), 400), size)]
            records[at : at + 1] = [(content, version, piece) for piece in pieces]
    made = b"".join(map(_written, records))
    return made[: chance.randrange(len(made) + 1)] if chance.random() < 0.1 else made


def _changed_messages(records: list[_Record], chance: random.Random) -> bytes:
    """The handshake messages at the start, one of them changed, in one record; then the rest."""
    plain = []
    while records and records[0][0] == _HANDSHAKE:
        plain.append(records.pop(0)[2])
    messages = _messages(b"".join(plain))
    if not messages:
        return changed(b"".join(map(_written, records)), chance)
    at = chance.randrange(len(messages))
    kind, body = messages[at]
    match chance.randrange(6):
        case 0 | 1 | 2:
            messages[at] = (kind, changed(body, chance))
        case 3:
            messages[at : at + 2] = chance.choice(
                ([], [messages[at]] * 2, messages[at : at + 2][::-1])
            )
        case 4:
            messages[at] = (chance.randrange(25), body)
        case _:
            messages[at] = (kind, body + chance.randbytes(chance.choice((1, 300, 16_000))))
    joined = b"".join(
        bytes((kind,)) + len(body).to_bytes(3, "big") + body for kind, body in messages
    )
    most = 1 << 14
    made = [(_HANDSHAKE, b"\3\3", joined[i : i + most]) for i in range(0, len(joined), most)]
    return b"".join(map(_written, (*made, *records)))


def _records(flight: bytes) -> list[_Record]:
    found = []
    while len(flight) >= _HEADER:
        end = _HEADER + int.from_bytes(flight[3:_HEADER], "big")
        found.append((flight[0], flight[1:3], flight[_HEADER:end]))
        flight = flight[end:]
    return found


def _messages(content: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(content) >= 4:
        end = 4 + int.from_bytes(content[1:4], "big")
        found.append((content[0], content[4:end]))
        content = content[end:]
    return found


def _written(record: _Record) -> bytes:
    content, version, body = record
    return bytes((content,)) + version + min(len(body), 0xFFFF).to_bytes(2, "big") + body
