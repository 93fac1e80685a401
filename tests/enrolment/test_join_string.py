"""The join string: read strictly, written back the same, and never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynctls.config import Address
from asynctls.enrolment import JoinString
from asynctls.errors import JoinStringError
from asynctls.mac import Secret

PIN = "ab" * 32
TEXT = f"est://id-1:s3cr3t_x@127.0.0.1:8440?name=server#sha256={PIN}"


def test_a_join_string_says_token_place_name_and_pin() -> None:
    assert JoinString.parse(TEXT) == JoinString(
        "id-1", Secret(b"s3cr3t_x"), Address("127.0.0.1", 8440), "server", bytes.fromhex(PIN)
    )


def test_white_space_around_it_and_a_missing_name_are_fine() -> None:
    assert JoinString.parse(f"  {TEXT}\n") == JoinString.parse(TEXT)
    assert JoinString.parse(TEXT.replace("?name=server", "")).name is None


def test_an_ipv6_address_has_brackets() -> None:
    text = TEXT.replace("127.0.0.1", "[::1]")
    assert JoinString.parse(text).address == Address("::1", 8440)
    assert JoinString.parse(text).format() == text


def test_neither_repr_nor_str_shows_the_secret() -> None:
    joined = JoinString.parse(TEXT)
    assert "s3cr3t_x" not in repr(joined)
    assert str(joined) == "token id-1 at 127.0.0.1:8440"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with est://"),
        ("https://s3cr3t", "begins with est://"),
        (TEXT.partition("#")[0], "no #sha256"),
        (TEXT[:-1], "cut off"),
        (TEXT.replace("sha256", "sha1"), "64 hex digits"),
        (TEXT + "0", "64 hex digits"),
        (TEXT.replace("id-1:s3cr3t_x@", ""), "no TOKEN-ID:SECRET@"),
        (TEXT.replace("id-1:", ""), "no TOKEN-ID:SECRET@"),
        (TEXT.replace("id-1", ""), "token id is empty"),
        (TEXT.replace("id-1", "id%3A1"), "cannot be sent"),
        (TEXT.replace("s3cr3t_x", ""), "secret is empty"),
        (TEXT.replace("s3cr3t_x", "s3cr3t x"), "character that must be written"),
        (TEXT.replace("s3cr3t_x", "s3cr3t%0A"), "cannot be sent"),
        (TEXT.replace("s3cr3t_x", "s3cr3t%FF"), "not UTF-8"),
        (TEXT.replace(":8440", ""), "address is wrong"),
        (TEXT.replace(":8440", ":0"), "port 0"),
        (TEXT.replace("127.0.0.1", "::1"), "brackets"),
        (TEXT.replace("name=server", "nom=server"), "other than name="),
        (TEXT.replace("name=server", "name=a&b=c"), "name is empty or has a character"),
        ("est://s3cr3t" + "x" * 5000, "4096 characters at most"),
    ],
)
def test_what_is_none_is_refused_in_words_that_do_not_quote_it(text: str, words: str) -> None:
    with pytest.raises(JoinStringError, match=words) as caught:
        JoinString.parse(text)
    assert "s3cr3t" not in str(caught.value)


printable = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters=":"), min_size=1, max_size=30
)


@given(
    token_id=printable,
    secret=printable,
    name=st.none() | printable,
    pin=st.binary(min_size=32, max_size=32),
)
def test_format_gives_what_parse_reads(
    token_id: str, secret: str, name: str | None, pin: bytes
) -> None:
    joined = JoinString(token_id, Secret(secret.encode()), Address("ttp.example", 1), name, pin)
    assert JoinString.parse(joined.format()) == joined


@given(st.text(max_size=200) | st.text(max_size=100).map(lambda text: "est://" + text))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        JoinString.parse(text)
    except JoinStringError:
        return
