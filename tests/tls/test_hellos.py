"""ClientHello, ServerHello and Certificate, read as far as they can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asynctls.tls.hellos import ClientHello, ServerHello, leaf_of


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2) + len(content).to_bytes(2) + content


def client_hello(*extensions: bytes, version: int = 0x0303) -> bytes:
    listed = b"".join(extensions)
    head = version.to_bytes(2) + bytes(32) + b"\x00" + b"\x00\x02\xc0\x2b" + b"\x01\x00"
    return head + (len(listed).to_bytes(2) + listed if listed else b"")


@given(st.binary(max_size=300))
def test_nothing_makes_them_raise(body: bytes) -> None:
    ClientHello.read(body)
    ServerHello.read(body)
    leaf_of(body)


@given(st.binary(max_size=80))
def test_extensions_of_any_content_are_read(content: bytes) -> None:
    for kind in (16, 23, 43):
        assert ClientHello.read(client_hello(extension(kind, content))) is not None


def test_a_client_hello_names_what_it_offers() -> None:
    hello = ClientHello.read(
        client_hello(
            extension(16, b"\x00\x0c\x08http/1.1\x02h2"),
            extension(23, b""),
            # The first is grease (RFC 8701).
            extension(43, b"\x06\x2a\x2a\x03\x04\x03\x03"),
        )
    )
    assert hello == ClientHello(
        versions=("TLS 1.3", "TLS 1.2"),
        cipher_suites=(0xC02B,),
        alpn=("http/1.1", "h2"),
        extended_master_secret=True,
    )


def test_a_client_hello_without_extensions_has_a_version() -> None:
    hello = ClientHello.read(client_hello(version=0x0302))
    assert hello == ClientHello(
        versions=("TLS 1.1",), cipher_suites=(0xC02B,), alpn=(), extended_master_secret=False
    )
    odd = ClientHello.read(client_hello(version=0x1234))
    assert odd is not None
    assert odd.versions == ("version 0x1234",)


def test_a_server_hello_names_what_it_chose() -> None:
    listed = extension(16, b"\x00\x0b\x0aasynctls/1") + extension(23, b"")
    body = b"\x03\x03" + bytes(32) + b"\x00\xc0\x2b\x00" + len(listed).to_bytes(2) + listed
    assert ServerHello.read(body) == ServerHello(
        random=body[2:34],
        version="TLS 1.2",
        cipher_suite=0xC02B,
        compression=0,
        alpn="asynctls/1",
        extended_master_secret=True,
    )


def test_a_server_hello_of_tls_1_3_says_so_in_an_extension() -> None:
    listed = extension(43, b"\x03\x04")
    body = b"\x03\x03" + bytes(32) + b"\x00\x13\x01\x00" + len(listed).to_bytes(2) + listed
    hello = ServerHello.read(body)
    assert hello is not None
    assert (hello.version, hello.compression) == ("TLS 1.3", 0)


def test_the_leaf_is_the_first_certificate() -> None:
    assert leaf_of(b"\x00\x00\x0b\x00\x00\x04leaf\x00\x00\x01c") == b"leaf"
    assert leaf_of(b"\x00\x00\x00") is None
    assert leaf_of(b"\x00\x00\x09\x00\x00\x06lea") is None
