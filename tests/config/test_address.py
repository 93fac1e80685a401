"""Addresses as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynctls.config import Address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8440", "127.0.0.1", 8440),
        ("localhost:0", "localhost", 0),
        ("a-b.example.org:65535", "a-b.example.org", 65535),
        ("[::1]:8440", "::1", 8440),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_an_address_is_read_and_written_back(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("localhost", "port is missing"),
        (":8440", "host is missing"),
        ("::1:8440", "in brackets"),
        ("[::1]", "[ADDRESS]:PORT"),
        ("[localhost]:1", "no IPv6 address"),
        ("localhost:65536", "0 to 65535"),
        ("localhost:-1", "0 to 65535"),
        ("localhost:", "0 to 65535"),
        ("localhost: 1", "0 to 65535"),
        ("localhost:1_0", "0 to 65535"),
        ("localhost:\u0661", "0 to 65535"),
        ("a b:1", "neither a name"),
        ("-a:1", "neither a name"),
        ("a..b:1", "neither a name"),
        ("300.1.1.1:1", "IPv4"),
        ("1.2.3:1", "IPv4"),
    ],
)
def test_what_is_no_address_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refused:
        Address.parse(text)
    assert words in str(refused.value)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except ValueError:
        return
    assert Address.parse(str(address)) == address


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_ip_address_comes_back(ip: object, port: int) -> None:
    address = Address(str(ip), port)
    assert Address.parse(str(address)) == address
