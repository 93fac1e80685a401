"""The HMAC layer's ground, held against the test cases of RFC 4231 and RFC 5869."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynctls import mac
from asynctls.mac import Secret

# RFC 4231, section 4: key, data, HMAC-SHA-256.
RFC_4231 = [
    (
        "0b" * 20,
        b"Hi There".hex(),
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe".hex(),
        b"what do ya want for nothing?".hex(),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        "aa" * 20,
        "dd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        "0102030405060708090a0b0c0d0e0f10111213141516171819",
        "cd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (
        "aa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First".hex(),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        "aa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.".hex(),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]

# RFC 5869, appendix A, the cases with SHA-256: IKM, salt, info, L, PRK, OKM.
RFC_5869 = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        42,
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        82,
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        (
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271"
            "cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
        ),
    ),
    (
        "0b" * 22,
        "",
        "",
        42,
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("key", "message", "tag"), RFC_4231)
def test_tags_are_those_of_rfc_4231(key: str, message: str, tag: str) -> None:
    assert mac.tag(bytes.fromhex(key), bytes.fromhex(message)).hex() == tag
    assert mac.verify(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(tag))


@pytest.mark.parametrize(("ikm", "salt", "info", "length", "prk", "okm"), RFC_5869)
def test_keys_are_those_of_rfc_5869(
    ikm: str, salt: str, info: str, length: int, prk: str, okm: str
) -> None:
    extracted = mac.extract(bytes.fromhex(salt), bytes.fromhex(ikm))
    assert extracted.hex() == prk
    assert mac.expand(extracted, bytes.fromhex(info), length).hex() == okm


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=300))
def test_a_tag_is_the_standard_library_s(key: bytes, message: bytes) -> None:
    assert mac.tag(key, message) == hmac.new(key, message, hashlib.sha256).digest()


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=64), st.integers(0, 255))
def test_no_tag_with_one_bit_changed_verifies(key: bytes, message: bytes, bit: int) -> None:
    tag = bytearray(mac.tag(key, message))
    tag[bit // 8] ^= 1 << bit % 8
    assert not mac.verify(key, message, bytes(tag))


def test_a_tag_of_another_length_does_not_verify() -> None:
    tag = mac.tag(b"key", b"message")
    assert not mac.verify(b"key", b"message", tag[:-1])
    assert not mac.verify(b"key", b"message", tag + b"\0")
    assert not mac.verify(b"key", b"message", b"")


@pytest.mark.parametrize("length", [0, -1, 8161])
def test_no_key_has_a_length_that_rfc_5869_does_not_give(length: int) -> None:
    with pytest.raises(ValueError, match="HKDF-SHA-256 gives 1 to 8160 bytes"):
        mac.expand(bytes(32), b"", length)


def test_the_longest_key_has_8160_bytes() -> None:
    assert len(mac.expand(bytes(32), b"", 8160)) == 8160


def test_sha256_is_the_one_of_fips_180() -> None:
    assert mac.sha256(b"abc").hex() == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret(b"not for the log")
    assert "not for the log" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == b"not for the log"
    assert len(secret) == 15


def test_secrets_are_equal_by_their_bytes_and_to_nothing_else() -> None:
    assert Secret(b"a") == Secret(b"a")
    assert hash(Secret(b"a")) == hash(Secret(b"a"))
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != b"a"


def test_random_secrets_differ() -> None:
    assert Secret.random() != Secret.random()
    assert len(Secret.random()) == mac.TAG_BYTES
    assert len(Secret.random(16)) == 16
