"""Elements that are put together by hand are what a parser reads, and come apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynctls.pki.der import OCTET_STRING, SEQUENCE, integer, pieces, tlv


def test_a_length_has_its_shortest_form() -> None:
    assert tlv(OCTET_STRING) == b"\x04\x00"
    assert tlv(OCTET_STRING, bytes(127))[:2] == b"\x04\x7f"
    assert tlv(OCTET_STRING, bytes(128))[:3] == b"\x04\x81\x80"
    assert tlv(OCTET_STRING, bytes(200), bytes(56))[:4] == b"\x04\x82\x01\x00"


def test_a_number_that_begins_with_a_one_has_a_zero_before_it() -> None:
    assert [integer(number).hex() for number in (0, 127, 128, 256)] == [
        "020100",
        "02017f",
        "02020080",
        "02020100",
    ]


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_an_element_comes_apart_into_what_it_was_made_of(contents: list[bytes]) -> None:
    parts = [tlv(OCTET_STRING, content) for content in contents]
    assert pieces(tlv(SEQUENCE, *parts)) == parts


@pytest.mark.parametrize(
    "octets",
    ["", "30", "3001", "300100ff", "300204", "3003040500", "3080040000", "3085000000000000"],
)
def test_what_does_not_fill_its_length_is_no_element(octets: str) -> None:
    with pytest.raises(ValueError, match="an element"):
        pieces(bytes.fromhex(octets))


@given(st.binary(max_size=40))
def test_of_any_bytes_it_is_said_whether_they_are_elements(octets: bytes) -> None:
    try:
        found = pieces(octets)
    except ValueError:
        return
    assert octets.endswith(b"".join(found))
