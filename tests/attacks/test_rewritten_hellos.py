"""Downgrade in flight: Mallory rewrites what client and server say before there is a key.

Whoever rewrites a hello on its way is found out at once where one end cannot agree to what it
reads, and otherwise because the client's signature (CertificateVerify) and both Finished messages
cover every byte of the handshake as each end saw it (RFC 5246, sections 7.4.8 and 7.4.9).

That cannot be taken away from OpenSSL. In its place the same relay rewrites each hello into itself,
which passes, and a client asks by itself for what the relay had put into its mouth, which passes
too: so it is the rewriting that is found, not what was written. What a session demands on top, the
extended master secret (RFC 7627), can be taken away, and is.
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from asynctls.alerts import Alert
from asynctls.errors import HandshakeError, PeerRefusedError, RefusedByPeerError
from asynctls.probe.hellos import (
    ALPN_EXTENSION,
    EXTENDED_MASTER_SECRET,
    SERVER_NAME,
    SIGNATURE_ALGORITHMS,
    SUPPORTED_GROUPS,
    Hello,
    Rewrite,
    rewriting,
)
from asynctls.probe.relays import Forwarding, everybody, forwarding
from asynctls.session import ALPN
from asynctls.tls import Stream, client_context_for_any_host
from tests.attacks.victims import (
    OTP,
    PIN,
    Client,
    Served,
    Server,
    talk,
)

if TYPE_CHECKING:
    from tests.attacks.world import World


def nothing(hello: Hello) -> None:
    """The hello is taken apart and put together, and stays what it was."""


def suite(number: int) -> Rewrite:
    """Cut down to one suite, and the signal that renegotiation is safe (RFC 5746, SCSV)."""

    def rewrite(hello: Hello) -> None:
        hello.suites = [number, *(each for each in hello.suites if each == SCSV)]

    return rewrite


def version(number: int) -> Rewrite:
    def rewrite(hello: Hello) -> None:
        hello.version = number

    return rewrite


def without(extension: int) -> Rewrite:
    def rewrite(hello: Hello) -> None:
        hello.extensions.pop(extension, None)

    return rewrite


def compressed(hello: Hello) -> None:
    """DEFLATE (RFC 3749), with which the CRIME attack read secrets."""
    hello.compressions = b"\x01\x00" if hello.kind == CLIENT_HELLO else b"\x01"


def other_random(hello: Hello) -> None:
    hello.random = bytes(32)


CLIENT_HELLO = 1
SCSV = 0x00FF
AES_128_GCM = 0xC02B  # TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: offered, and not the first choice
RSA_AES_128_CBC = 0x002F  # TLS_RSA_WITH_AES_128_CBC_SHA: never offered
TLS_1_0, TLS_1_1 = 0x0301, 0x0302


@pytest.mark.parametrize(
    ("rewrite", "alert", "found_by"),
    [
        pytest.param(suite(AES_128_GCM), Alert.DECRYPT_ERROR, "server", id="lesser suite"),
        pytest.param(suite(RSA_AES_128_CBC), Alert.HANDSHAKE_FAILURE, "server", id="weak suite"),
        pytest.param(version(TLS_1_0), Alert.PROTOCOL_VERSION, "server", id="TLS 1.0"),
        pytest.param(version(TLS_1_1), Alert.PROTOCOL_VERSION, "server", id="TLS 1.1"),
        pytest.param(
            without(EXTENDED_MASTER_SECRET),
            Alert.DECRYPT_ERROR,
            "server",
            id="no extended master secret",
        ),
        pytest.param(
            without(ALPN_EXTENSION), Alert.NO_APPLICATION_PROTOCOL, "client", id="no ALPN"
        ),
        pytest.param(without(SERVER_NAME), Alert.DECRYPT_ERROR, "server", id="no server name"),
        pytest.param(
            without(SIGNATURE_ALGORITHMS),
            Alert.HANDSHAKE_FAILURE,
            "server",
            id="no signature algorithms",  # then RFC 5246 has both sides fall back to SHA-1
        ),
        pytest.param(
            without(SUPPORTED_GROUPS), Alert.HANDSHAKE_FAILURE, "server", id="no elliptic curves"
        ),
        pytest.param(compressed, Alert.DECRYPT_ERROR, "server", id="compression"),
        pytest.param(other_random, Alert.DECRYPT_ERROR, "client", id="another random"),
    ],
)
async def test_a_rewritten_client_hello_ends_the_handshake(
    client: Client, server: Server, rewrite: Rewrite, alert: Alert, found_by: str
) -> None:
    async with (
        server.serving() as served,
        forwarding(served.address, from_client=rewriting(rewrite)) as relay,
    ):
        await assert_no_session(client, relay, served, alert, found_by)


@pytest.mark.parametrize(
    ("rewrite", "alert", "found_by"),
    [
        pytest.param(suite(AES_128_GCM), Alert.DECRYPT_ERROR, "server", id="lesser suite"),
        pytest.param(suite(RSA_AES_128_CBC), Alert.ILLEGAL_PARAMETER, "client", id="weak suite"),
        pytest.param(version(TLS_1_0), Alert.PROTOCOL_VERSION, "client", id="TLS 1.0"),
        pytest.param(version(TLS_1_1), Alert.PROTOCOL_VERSION, "client", id="TLS 1.1"),
        pytest.param(
            without(EXTENDED_MASTER_SECRET),
            Alert.DECRYPT_ERROR,
            "server",
            id="no extended master secret",
        ),
        pytest.param(
            without(ALPN_EXTENSION), Alert.NO_APPLICATION_PROTOCOL, "client", id="no ALPN"
        ),
        pytest.param(compressed, Alert.ILLEGAL_PARAMETER, "client", id="compression"),
        pytest.param(other_random, Alert.DECRYPT_ERROR, "client", id="another random"),
    ],
)
async def test_a_rewritten_server_hello_ends_the_handshake(
    client: Client, server: Server, rewrite: Rewrite, alert: Alert, found_by: str
) -> None:
    async with (
        server.serving() as served,
        forwarding(served.address, from_server=rewriting(rewrite)) as relay,
    ):
        await assert_no_session(client, relay, served, alert, found_by)


async def test_the_extended_master_secret_cannot_be_taken_out_of_both_hellos(
    client: Client, server: Server
) -> None:
    """Each end then thinks that the other has none, and both derive their keys the old way."""
    rewrite = without(EXTENDED_MASTER_SECRET)
    async with (
        server.serving() as served,
        forwarding(
            served.address, from_client=rewriting(rewrite), from_server=rewriting(rewrite)
        ) as relay,
    ):
        await assert_no_session(client, relay, served, Alert.DECRYPT_ERROR, "server")


async def assert_no_session(
    client: Client, relay: Forwarding, served: Served, alert: Alert, found_by: str
) -> None:
    """One end refuses and the other is told; the app hears nothing."""
    with pytest.raises(HandshakeError) as caught:
        await talk(client, relay.address)
    ends = {"client": caught.value, "server": await served.end()}
    refused = ends.pop(found_by)
    (told,) = ends.values()
    assert isinstance(refused, PeerRefusedError)
    assert isinstance(told, RefusedByPeerError)
    assert refused.alert is told.alert is alert
    assert served.told == []


async def test_without_a_clients_signature_finished_still_finds_it(
    world: World, client: Client, server: Server
) -> None:
    """A client without a certificate signs nothing: then the Finished messages stand alone."""
    server.context.verify_mode = ssl.CERT_OPTIONAL
    anonymous = client_context_for_any_host(trust=world.trust, alpn=[ALPN])
    async with (
        replace(server, admit=everybody).serving() as served,
        forwarding(served.address, from_client=rewriting(suite(AES_128_GCM))) as relay,
    ):
        with pytest.raises(RefusedByPeerError) as told:
            await replace(client, context=anonymous, server_name=None).stream(relay.address)
        refused = await served.end()
    assert isinstance(refused, PeerRefusedError)
    # The keys hang on the hellos too: what comes is not even decrypted.
    assert refused.alert is told.value.alert is Alert.BAD_RECORD_MAC


async def test_a_relay_that_rewrites_the_hellos_into_themselves_passes(
    client: Client, server: Server
) -> None:
    async with (
        server.serving() as served,
        forwarding(
            served.address, from_client=rewriting(nothing), from_server=rewriting(nothing)
        ) as relay,
    ):
        assert await talk(client, relay.address) == OTP


async def test_the_lesser_suite_is_served_to_a_client_that_asks_for_it_itself(
    client: Client, server: Server
) -> None:
    client.context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    async with server.serving() as served, forwarding(served.address) as relay:
        assert await talk(client, relay.address) == OTP
    assert Hello.read(relay.from_server[0]).suites == [AES_128_GCM]


# A peer that really has no extended master secret

OP_NO_EXTENDED_MASTER_SECRET = 1
needs_openssl_3 = pytest.mark.skipif(
    ssl.OPENSSL_VERSION_INFO < (3,), reason="only OpenSSL 3 can do without on request"
)


@pytest.fixture(params=["client", "server"])
def pair_without_ems(
    request: pytest.FixtureRequest, client: Client, server: Server
) -> tuple[Client, Server]:
    """Client and server, one of them with a TLS library from before RFC 7627."""
    old = client if request.param == "client" else server
    old.context.options |= OP_NO_EXTENDED_MASTER_SECRET
    return client, server


@needs_openssl_3
async def test_a_peer_without_the_extended_master_secret_gets_no_session(
    pair_without_ems: tuple[Client, Server],
) -> None:
    client, server = pair_without_ems
    async with server.serving() as served:
        with pytest.raises(HandshakeError, match="extended master secret"):
            await talk(client, served.address)
        ended = await served.end()
    assert isinstance(ended, HandshakeError)
    assert "extended master secret" in str(ended)
    assert served.told == []


@needs_openssl_3
async def test_without_that_check_it_gets_one(
    pair_without_ems: tuple[Client, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair_without_ems
    monkeypatch.setattr(Stream, "extended_master_secret", True)
    async with server.serving() as served:
        assert await talk(client, served.address) == OTP
    assert served.told == [("client", PIN)]
