from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from asynctls.errors import CertificateError, RequestError
from asynctls.pki.keys import KeyType, generate_now, key_to_pem
from asynctls.pki.profiles import CMC_RA, Profile, usages_beyond
from asynctls.pki.requests import MAX_REQUEST_BYTES, build_request, read_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = generate_now(KeyType.ECDSA_P256)
Builder = x509.CertificateSigningRequestBuilder


def usage(*names: str) -> x509.KeyUsage:
    every = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment"]
    every += ["key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{name: name in names for name in every})


def request(*extensions: x509.ExtensionType, subject: x509.Name | None = None) -> bytes:
    builder = Builder().subject_name(subject or x509.Name([]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes])


@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P256, KeyType.ECDSA_P384, KeyType.RSA_2048])
def test_a_request_says_its_key_and_names(key_type: KeyType) -> None:
    key = generate_now(key_type)
    read = read_request(build_request(key, sans=["Server", "::1", "spiffe://td/x"]))
    assert read.public_key == key.public_key()
    assert read.key_type is key_type
    assert read.sans == ("server", "::1", "spiffe://td/x")
    assert read.common_name is None
    assert read.ignored == ()


def test_a_request_may_leave_everything_to_its_grant() -> None:
    read = read_request(build_request(KEY))
    assert (read.common_name, read.sans, read.ignored) == (None, (), ())


def test_a_request_for_what_is_no_name_is_not_made() -> None:
    with pytest.raises(CertificateError, match="wildcard"):
        build_request(KEY, sans=["*.example.org"])


def test_what_openssl_makes_is_read(program: Callable[[str], Path], tmp_path: Path) -> None:
    import subprocess

    key = tmp_path / "key.pem"
    key.write_bytes(key_to_pem(KEY))
    der = subprocess.run(
        [
            program("openssl"),
            "req",
            "-new",
            "-key",
            key,
            "-subj",
            "/O=Example/CN=server",
            "-addext",
            "subjectAltName=DNS:server,IP:10.0.0.1",
            "-outform",
            "DER",
        ],
        check=True,
        capture_output=True,
    ).stdout
    read = read_request(der)
    assert (read.common_name, read.sans) == ("server", ("server", "10.0.0.1"))
    assert read.ignored == ("subject O",)


def test_extensions_that_are_not_asked_about_are_named_for_the_log() -> None:
    read = read_request(
        request(
            x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()),
            x509.BasicConstraints(ca=False, path_length=None),
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
            subject=name((NameOID.COMMON_NAME, "server"), (NameOID.COUNTRY_NAME, "IN")),
        )
    )
    assert read.common_name == "server"
    assert read.ignored == ("subject C", "subjectKeyIdentifier", "1.2.3.4")


def test_usages_are_read_and_held_against_the_profile() -> None:
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, CMC_RA, x509.ObjectIdentifier("1.2.3")]
    read = read_request(
        request(
            usage("digital_signature", "key_encipherment", "key_agreement", "encipher_only"),
            x509.ExtendedKeyUsage(uses),
        )
    )
    assert usages_beyond(Profile.CLIENT, read) == (
        "key usage encipher only",
        "key usage key agreement",
        "key usage key encipherment",
        "extended key usage cmcRA",
        "extended key usage 1.2.3",
    )
    modest = request(
        usage("digital_signature"), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    )
    assert usages_beyond(Profile.SERVER, read_request(modest)) == ()
    assert usages_beyond(Profile.PEER, read_request(modest)) == ()
    assert usages_beyond(Profile.CLIENT, read_request(modest)) == ("extended key usage serverAuth",)


def test_a_challenge_password_is_passed_over_and_not_shown() -> None:
    builder = Builder().subject_name(x509.Name([]))
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"dGxzLXVuaXF1ZQ==")
    der = builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    assert "dGxzLXVuaXF1ZQ" not in repr(read_request(der))


def test_names_that_nobody_is_granted_are_shown_and_equal_no_grant() -> None:
    names = [x509.RFC822Name("a@b.example"), x509.DNSName("*.example.org"), x509.DNSName("::1")]
    read = read_request(request(x509.SubjectAlternativeName(names)))
    assert read.sans == (
        "RFC822Name 'a@b.example'",
        "DNSName '*.example.org'",
        "DNSName '::1'",
    )


@pytest.mark.parametrize(
    ("extension", "words"),
    [
        (x509.BasicConstraints(ca=True, path_length=None), "CA certificate"),
        (usage("digital_signature", "key_cert_sign"), "only a CA does"),
        (usage("crl_sign"), "only a CA does"),
    ],
)
def test_a_request_for_a_cas_powers_is_refused(extension: x509.ExtensionType, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        read_request(request(extension))


def test_a_request_with_two_common_names_is_refused() -> None:
    subject = name((NameOID.COMMON_NAME, "server"), (NameOID.COMMON_NAME, "client"))
    with pytest.raises(RequestError, match="more than one common name"):
        read_request(request(subject=subject))


def test_a_common_name_that_could_forge_the_log_is_refused() -> None:
    with pytest.raises(RequestError, match="no printable text"):
        read_request(request(subject=name((NameOID.COMMON_NAME, "a\nb"))))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (rsa.generate_private_key(65537, 1024), "1024 bits"),
        (rsa.generate_private_key(3, 2048), "exponent"),
        (ec.generate_private_key(ec.SECP521R1()), "secp521r1"),
    ],
)
def test_a_weak_key_is_refused_in_words(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        read_request(build_request(key))


def test_an_even_exponent_is_refused() -> None:
    der = build_request(generate_now(KeyType.RSA_2048))
    assert der.count(b"\x02\x03\x01\x00\x01") == 1
    with pytest.raises(RequestError):
        read_request(der.replace(b"\x02\x03\x01\x00\x01", b"\x02\x03\x01\x00\x02"))


def test_an_ed25519_request_is_refused_in_words() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    csr = Builder().subject_name(x509.Name([])).sign(key, None)
    with pytest.raises(RequestError, match="Ed25519"):
        read_request(csr.public_bytes(serialization.Encoding.DER))


def test_a_request_signed_by_another_key_is_refused() -> None:
    der = build_request(KEY)
    public = serialization.PublicFormat.UncompressedPoint, serialization.Encoding.X962
    own = KEY.public_key().public_bytes(public[1], public[0])
    other = generate_now(KeyType.ECDSA_P256).public_key().public_bytes(public[1], public[0])
    assert own in der
    with pytest.raises(RequestError, match="not signed by the key"):
        read_request(der.replace(own, other))


def test_the_size_is_looked_at_before_anything_else() -> None:
    with pytest.raises(RequestError, match="16385 bytes"):
        read_request(b"\x30" * (MAX_REQUEST_BYTES + 1))
    with pytest.raises(RequestError, match="well-formed"):
        read_request(b"\x30" * MAX_REQUEST_BYTES)


@pytest.mark.parametrize("junk", [b"", b"\x00", b"-----BEGIN CERTIFICATE REQUEST-----\n"])
def test_what_is_no_request_is_refused(junk: bytes) -> None:
    with pytest.raises(RequestError, match="well-formed"):
        read_request(junk)
    with pytest.raises(RequestError, match="well-formed"):
        read_request(build_request(KEY) + b"\x00" + junk)


FULL = request(
    usage("digital_signature"),
    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    x509.BasicConstraints(ca=False, path_length=None),
    x509.SubjectAlternativeName([x509.DNSName("server"), x509.RFC822Name("a@b.example")]),
    x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(100)),
    subject=name((NameOID.COMMON_NAME, "server")),
)


def resigned(der: bytes) -> bytes:
    """The request with its signature made again, so that what lies behind its check is reached."""
    body = der[4 : 4 + 4 + int.from_bytes(der[6:8], "big")]
    assert isinstance(KEY, ec.EllipticCurvePrivateKey)
    signature = KEY.sign(body, ec.ECDSA(hashes.SHA256()))
    tail = bytes.fromhex("300a06082a8648ce3d040302") + bytes([3, len(signature) + 1, 0]) + signature
    return b"\x30\x82" + (len(body) + len(tail)).to_bytes(2, "big") + body + tail


def test_a_request_signed_anew_by_the_test_is_a_request() -> None:
    assert FULL[:2] == FULL[4:6] == b"\x30\x82"
    assert read_request(resigned(FULL)) == read_request(FULL)


@given(
    st.lists(st.tuples(st.integers(0, len(FULL) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.sampled_from([lambda der: der, resigned]),
)
def test_a_mangled_request_ends_in_a_request_error_or_is_a_request(
    changes: list[tuple[int, int]], sign: Callable[[bytes], bytes]
) -> None:
    mangled = bytearray(FULL)
    for at, value in changes:
        mangled[at] = value
    with warnings.catch_warnings():
        # The library warns of some oddities that it reads all the same.
        warnings.simplefilter("ignore")
        with contextlib.suppress(RequestError):
            read_request(sign(bytes(mangled)))


@given(st.binary(max_size=200))
def test_random_bytes_end_in_a_request_error(junk: bytes) -> None:
    with pytest.raises(RequestError):
        read_request(junk)


def test_a_challenge_password_is_carried_and_read() -> None:
    assert read_request(build_request(KEY)).challenge_password is None
    read = read_request(build_request(KEY, challenge_password="bGlua2Vk+/=="))
    assert read.challenge_password == "bGlua2Vk+/=="
    assert "bGlua2Vk" not in repr(read)
