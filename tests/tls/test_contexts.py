"""Contexts: what they pin, and what cannot be made one."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from asynctls.errors import CertificateError, PeerRefusedError
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import Profile
from asynctls.tls import (
    Engine,
    Side,
    bootstrap_context,
    client_context,
    client_context_for_any_host,
    server_context,
    try_out,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tls.conftest import Kit, World


def contexts(kit: Kit) -> list[ssl.SSLContext]:
    world = kit.world
    server, client = world.server, world.client
    return [
        server_context(chain=server.chain, key=server.key, trust=world.trust, alpn=[kit.alpn]),
        client_context(chain=client.chain, key=client.key, trust=world.trust, alpn=[kit.alpn]),
        client_context_for_any_host(trust=world.trust),
        bootstrap_context(),
    ]


def test_every_context_speaks_tls_1_2_with_ecdhe_and_aes_gcm_alone(kit: Kit) -> None:
    for context in contexts(kit):
        assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_2
        names = [c["name"] for c in context.get_ciphers() if c["protocol"] == "TLSv1.2"]
        assert names
        assert all(name.startswith("ECDHE-") and "-GCM-" in name for name in names)
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION
        assert not context.options & ssl.OP_NO_TICKET
        assert not context.options & getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        assert context.verify_flags & ssl.VERIFY_X509_STRICT
        assert not context.verify_flags & getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
        assert not context.verify_flags & ssl.VERIFY_CRL_CHECK_LEAF
        assert context.security_level == 2


def test_who_is_verified(kit: Kit) -> None:
    server, client, any_host, bootstrap = contexts(kit)
    assert server.verify_mode == client.verify_mode == any_host.verify_mode == ssl.CERT_REQUIRED
    assert client.check_hostname
    assert not client.hostname_checks_common_name
    assert not any_host.check_hostname
    assert bootstrap.verify_mode == ssl.CERT_NONE
    assert bootstrap.get_ca_certs() == []


def test_a_leaf_alone_is_enough_where_the_issuing_ca_is_trusted(kit: Kit) -> None:
    world = kit.world
    root_alone = to_pem(world.root.certificate)
    # A context that knew the issuing CA would send it beside the leaf.
    asking = client_context(trust=root_alone, chain=world.client.leaf, key=world.client.key)
    for trust, known in ((world.trust, True), (root_alone, False)):
        serving = server_context(chain=world.server.chain, key=world.server.key, trust=trust)
        wire = kit.wire(
            Engine(asking, side=Side.CLIENT, admit=kit.let_in, server_hostname="server"),
            Engine(serving, side=Side.SERVER, admit=kit.let_in),
        ).shake()
        if known:
            assert wire.errors == (None, None)
        else:
            assert isinstance(wire.server_error, PeerRefusedError)
            assert "not trusted here" in wire.server_error.reason


def test_the_issuing_ca_alone_is_no_anchor(kit: Kit) -> None:
    world = kit.world
    trust = to_pem(world.issuing.certificate)
    serving = server_context(chain=world.server.chain, key=world.server.key, trust=world.trust)
    wire = kit.wire(
        Engine(
            client_context(trust=trust),
            side=Side.CLIENT,
            admit=kit.let_in,
            server_hostname="server",
        ),
        Engine(serving, side=Side.SERVER, admit=kit.let_in),
    ).shake()
    assert isinstance(wire.client_error, PeerRefusedError)


def test_a_context_for_any_host_takes_any_host_of_the_ca(kit: Kit) -> None:
    world = kit.world
    context = client_context_for_any_host(
        trust=world.trust, chain=world.client.chain, key=world.client.key
    )
    _, server = world.engines()
    client = Engine(context, side=Side.CLIENT, admit=kit.let_in, server_hostname="elsewhere")
    assert kit.wire(client, server).shake().errors == (None, None)


def test_the_bootstrap_context_takes_anybody_and_shows_nothing(
    kit: Kit, other_world: World
) -> None:
    context = server_context(
        chain=other_world.server.chain,
        key=other_world.server.key,
        trust=other_world.trust,
        client_certificate=ssl.CERT_OPTIONAL,
    )
    client = Engine(bootstrap_context(), side=Side.CLIENT, admit=kit.let_in)
    server = Engine(context, side=Side.SERVER, admit=kit.let_in)
    assert kit.wire(client, server).shake().errors == (None, None)
    assert server.peer_certificate is None


def test_files_that_do_not_go_together_are_refused(kit: Kit, tmp_path: Path) -> None:
    world = kit.world
    with pytest.raises(CertificateError, match="key values mismatch"):
        server_context(chain=world.server.chain, key=world.client.key, trust=world.trust)
    with pytest.raises(CertificateError, match="cannot be read: No such file"):
        server_context(chain=tmp_path / "none.pem", key=world.server.key, trust=world.trust)
    (tmp_path / "bad.pem").write_text("nonsense")
    with pytest.raises(CertificateError, match=r"bad\.pem"):
        client_context(chain=tmp_path / "bad.pem", key=world.server.key, trust=world.trust)


def test_an_encrypted_key_asks_nobody_for_a_password(kit: Kit, tmp_path: Path) -> None:
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        generate_now(KeyType.ECDSA_P256).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(CertificateError, match="encrypted"):
        server_context(chain=kit.world.server.chain, key=encrypted, trust=kit.world.trust)


@pytest.mark.parametrize("trust", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_trust_that_is_none_is_refused(trust: str) -> None:
    with pytest.raises(CertificateError, match="CA certificates"):
        client_context(trust=trust)


@pytest.mark.parametrize("client_certificate", [ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL])
def test_a_good_context_passes_its_trial(kit: Kit, client_certificate: ssl.VerifyMode) -> None:
    world = kit.world
    try_out(
        server_context(
            chain=world.server.chain,
            key=world.server.key,
            trust=world.trust,
            client_certificate=client_certificate,  # type: ignore[arg-type]
        )
    )


def test_a_context_that_no_client_would_take_fails_its_trial(kit: Kit, other_world: World) -> None:
    world = kit.world
    expired = world.holder("server", Profile.SERVER, issued=-world.DAY, lifetime=world.DAY / 2)
    for holder, words in (
        (expired, "expired"),
        (world.client, "certificate purpose"),
        (other_world.server, "unable to get"),
    ):
        context = server_context(chain=holder.chain, key=holder.key, trust=world.trust)
        with pytest.raises(CertificateError, match=words):
            try_out(context)
