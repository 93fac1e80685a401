"""The one bit that a relay changes: where it should be, whatever records the messages come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynctls.probe.flips import FROM_CLIENT, FROM_SERVER, Flip, Flipping
from asynctls.tls.records import HandshakeType
from tests.tls.octets import handshake, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CCS = b"\x14\x03\x03\x00\x01\x01"
PLAIN = [each for each in (*FROM_CLIENT, *FROM_SERVER) if each.message is not None]


def message(kind: HandshakeType, octets: int) -> bytes:
    return handshake(kind, bytes(octets))


def flipped(flip: Flip, records: Iterable[bytes]) -> list[bytes]:
    flipping = Flipping(flip)
    return [flipping(each) for each in records]


def changed_bits(before: Sequence[bytes], after: Sequence[bytes]) -> list[tuple[int, int]]:
    """Where: the record, and the octet in it."""
    return [
        (number, at)
        for number, (old, new) in enumerate(zip(before, after, strict=True))
        for at, (one, other) in enumerate(zip(old, new, strict=True))
        if one != other
    ]


@pytest.mark.parametrize("flip", PLAIN, ids=lambda flip: f"{flip.name}{flip.at}")
def test_it_is_in_the_first_message_of_the_kind_and_nowhere_else(flip: Flip) -> None:
    assert flip.message is not None
    other = HandshakeType.HELLO_REQUEST
    wanted = message(flip.message, 0 if flip.at == 0 else 400)
    records = [record(22, message(other, 9)), record(22, wanted), record(22, wanted)]
    at = 5 + (flip.at if flip.at >= 0 else len(wanted) + flip.at)
    assert changed_bits(records, flipped(flip, records)) == [(1, at)]


@pytest.mark.parametrize("flip", PLAIN, ids=lambda flip: f"{flip.name}{flip.at}")
@given(octets=st.integers(0, 500), cut=st.integers(4, 504))
def test_messages_may_share_a_record_and_go_on_in_the_next(
    flip: Flip, octets: int, cut: int
) -> None:
    assert flip.message is not None
    before, wanted = message(HandshakeType.HELLO_REQUEST, octets), message(flip.message, 60)
    records = [record(22, before[:cut]), record(22, before[cut:] + wanted)]
    at = len(records[1]) - len(wanted) + (flip.at if flip.at >= 0 else len(wanted) + flip.at)
    assert changed_bits(records, flipped(flip, records)) == [(1, at)]


@pytest.mark.parametrize(
    ("name", "content"), [("Finished", 22), ("application data", 23), ("alert", 21)]
)
def test_what_is_encrypted_is_known_by_its_content_type(name: str, content: int) -> None:
    (flip,) = (each for each in FROM_CLIENT if each.name == name)
    records = [
        record(22, message(HandshakeType.CLIENT_HELLO, 400)),
        record(21, b"\x01\x00"),
        CCS,
        record(content, bytes(40)),
        record(content, bytes(40)),
    ]
    assert changed_bits(records, flipped(flip, records)) == [(3, 13)]


def test_nothing_is_changed_where_there_is_no_such_message() -> None:
    records = [record(22, message(HandshakeType.CLIENT_HELLO, 400)), CCS, record(22, bytes(40))]
    for flip in FROM_SERVER:
        if flip.name not in ("ChangeCipherSpec", "Finished"):
            flipping = Flipping(flip)
            assert [flipping(each) for each in records] == records
            assert not flipping.done
