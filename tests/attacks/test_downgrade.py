"""Downgrade: somebody would have client and server speak something weaker than they can.

Neither end speaks anything but TLS 1.2 with ECDHE and AES-GCM, so there is nothing weaker to agree
on, whoever asks for it: a client that knows no better, or Mallory in its name. (That she cannot
rewrite what the two say to one another is in test_rewritten_hellos.py.)

The counter-tests take that away by contexts that are not pinned, as the standard library makes
them: then the same clients get through.
"""

from __future__ import annotations

import re
import ssl
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from asynctls.alerts import Alert
from asynctls.errors import HandshakeError, PeerRefusedError, RefusedByPeerError
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.probe.relays import everybody, forwarding
from asynctls.session import ALPN
from asynctls.tls import client_context_for_any_host, server_context
from tests.attacks.openssl import OLD_AND_WEAK, s_client
from tests.attacks.victims import (
    OTP,
    PIN,
    Client,
    Server,
    server_of,
    talk,
)

if TYPE_CHECKING:
    from tests.attacks.world import Holder, World
    from tests.conftest import Program


def spoken(
    context: ssl.SSLContext, least: ssl.TLSVersion, most: ssl.TLSVersion, ciphers: str
) -> ssl.SSLContext:
    """The context, speaking other versions and suites than ours does."""
    with warnings.catch_warnings():
        # That these versions are deprecated is the point.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = least
        context.maximum_version = most
    context.set_ciphers(ciphers)
    return context


def context_of(world: World, holder: Holder, *, server_side: bool) -> ssl.SSLContext:
    make = server_context if server_side else client_context_for_any_host
    return make(trust=world.trust, chain=holder.chain, key=holder.key, alpn=[ALPN])


# Another version of TLS

VERSIONS = [
    version
    for version, built_in in (
        (ssl.TLSVersion.TLSv1, ssl.HAS_TLSv1),
        (ssl.TLSVersion.TLSv1_1, ssl.HAS_TLSv1_1),
        (ssl.TLSVersion.TLSv1_3, ssl.HAS_TLSv1_3),
    )
    if built_in
]
OLD_VERSIONS = [version for version in VERSIONS if version < ssl.TLSVersion.TLSv1_2]
OPTIONS = {"-tls1": "TLSv1", "-tls1_1": "TLSv1.1", "-tls1_3": "TLSv1.3"}
by_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
by_option = pytest.mark.parametrize("option", OPTIONS)


@pytest.fixture
def unpinned(world: World, server: Server) -> Server:
    """A server that speaks whatever the library can."""
    context = context_of(world, server.holder, server_side=True)
    return replace(
        server,
        context=spoken(
            context, ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_3, OLD_AND_WEAK
        ),
    )


def speaking_only(client: Client, version: ssl.TLSVersion, world: World) -> Client:
    context = context_of(world, client.holder, server_side=False)
    return replace(
        client,
        context=spoken(context, version, version, OLD_AND_WEAK),
        admit=everybody,
        server_name=None,
    )


@by_version
async def test_a_client_of_another_version_is_refused(
    world: World, client: Client, server: Server, version: ssl.TLSVersion
) -> None:
    async with server.serving() as served:
        with pytest.raises(RefusedByPeerError) as refused:
            await talk(speaking_only(client, version, world), served.address)
        ended = await served.end()
    assert refused.value.alert is Alert.PROTOCOL_VERSION
    assert isinstance(ended, PeerRefusedError)
    assert "TLS 1.2 is the one version spoken here" in ended.reason
    assert served.told == []


@by_version
async def test_a_server_that_is_not_pinned_speaks_it(
    world: World, client: Client, unpinned: Server, version: ssl.TLSVersion
) -> None:
    other = speaking_only(client, version, world)
    async with unpinned.serving() as served:
        if version is ssl.TLSVersion.TLSv1_3:
            # Python's ssl has no channel binding for 1.3: the session refuses what TLS took.
            with pytest.raises(HandshakeError, match="no session without"):
                await talk(other, served.address)
            assert "no session without" in str(await served.end())
        else:
            assert await talk(other, served.address) == OTP
            assert served.told == [("client", PIN)]


def server_speaking_only(server: Server, version: ssl.TLSVersion, world: World) -> Server:
    context = context_of(world, server.holder, server_side=True)
    return replace(server, context=spoken(context, version, version, OLD_AND_WEAK))


@by_version
async def test_with_a_server_of_another_version_there_is_no_session(
    world: World, client: Client, server: Server, version: ssl.TLSVersion
) -> None:
    async with server_speaking_only(server, version, world).serving() as served:
        with pytest.raises(RefusedByPeerError) as refused:
            await talk(client, served.address)
    # Before 1.2 there is none of the suites that we offer; that is what an old server notices.
    new = version is ssl.TLSVersion.TLSv1_3
    assert refused.value.alert is (Alert.PROTOCOL_VERSION if new else Alert.HANDSHAKE_FAILURE)


@pytest.mark.parametrize("version", OLD_VERSIONS, ids=lambda version: version.name)
async def test_a_client_that_is_not_pinned_falls_for_an_old_server(
    world: World, client: Client, server: Server, version: ssl.TLSVersion
) -> None:
    context = spoken(
        context_of(world, client.holder, server_side=False),
        ssl.TLSVersion.MINIMUM_SUPPORTED,
        ssl.TLSVersion.TLSv1_2,
        OLD_AND_WEAK,
    )
    careless = replace(client, context=context, server_name=None)
    async with server_speaking_only(server, version, world).serving() as served:
        assert await talk(careless, served.address) == OTP


@by_option
async def test_openssl_with_another_version_is_refused(
    client: Client, server: Server, program: Program, option: str
) -> None:
    async with server.serving() as served:
        printed = await s_client(program("openssl"), served.address, client.holder, option)
        assert isinstance(await served.end(), PeerRefusedError)
    assert f"SSL alert number {Alert.PROTOCOL_VERSION}" in printed


@by_option
async def test_openssl_with_another_version_gets_through_to_a_server_that_is_not_pinned(
    client: Client, unpinned: Server, program: Program, option: str
) -> None:
    async with unpinned.serving() as served:
        printed = await s_client(program("openssl"), served.address, client.holder, option)
    assert re.search(rf"^Protocol version: {OPTIONS[option]}$", printed, re.MULTILINE)
    assert "SSL alert number" not in printed


# A weak cipher suite

WEAK_SUITES = {
    "AES256-GCM-SHA384": "RSA key exchange: who gets the key later reads everything",
    "AES128-SHA": "RSA key exchange, CBC",
    "ECDHE-RSA-AES128-SHA256": "CBC",
    "ECDHE-RSA-AES256-SHA": "CBC, MAC then encrypt, SHA-1",
    "DES-CBC3-SHA": "64-bit blocks",
    "ECDHE-RSA-RC4-SHA": "RC4",
    "EXP-RC4-MD5": "a key of 40 bits, for export",
    "ECDHE-RSA-NULL-SHA": "no encryption",
    "NULL-SHA256": "no encryption",
    "AECDH-AES128-SHA": "anonymous: nobody proves who it is",
}
"""Each with what is wrong with it. Few libraries still have 3DES, RC4 or an export suite at all."""


def library_has(suite: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(f"{suite}:@SECLEVEL=0")
    except ssl.SSLError:
        return False
    return True


by_suite = pytest.mark.parametrize("suite", [each for each in WEAK_SUITES if library_has(each)])


@pytest.fixture(scope="module")
def rsa_server(world: World) -> Server:
    """A server with an RSA key: with an ECDSA key it could not speak the weak suites anyway."""
    return server_of(world, world.holder("server", Profile.SERVER, key_type=KeyType.RSA_2048))


def offering(client: Client, suite: str, world: World) -> Client:
    """A client that offers this one suite alone."""
    context = context_of(world, client.holder, server_side=False)
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(f"{suite}:@SECLEVEL=0")
    return replace(client, context=context, admit=everybody, server_name=None)


@by_suite
async def test_a_client_that_offers_a_weak_suite_alone_is_refused(
    world: World, client: Client, rsa_server: Server, suite: str
) -> None:
    async with rsa_server.serving() as served:
        with pytest.raises(RefusedByPeerError) as refused:
            await offering(client, suite, world).stream(served.address)
        ended = await served.end()
    assert refused.value.alert is Alert.HANDSHAKE_FAILURE
    assert isinstance(ended, PeerRefusedError)
    assert "offers none of the cipher suites" in ended.reason


@pytest.fixture
def careless_server(world: World, rsa_server: Server) -> Server:
    """A server that takes every suite that the library has, and whoever comes."""
    context = context_of(world, rsa_server.holder, server_side=True)
    context.set_ciphers(OLD_AND_WEAK)
    return replace(rsa_server, context=context, admit=everybody)


@by_suite
async def test_a_server_that_takes_every_suite_speaks_it(
    world: World, client: Client, careless_server: Server, suite: str
) -> None:
    # Where nobody proves who it is, a server must not even ask for a certificate.
    careless_server.context.verify_mode = ssl.CERT_NONE
    async with careless_server.serving() as served:
        stream = await offering(client, suite, world).stream(served.address)
        assert stream.cipher == suite
        await stream.close()


async def test_without_encryption_the_relay_reads_along(
    world: World, client: Client, careless_server: Server
) -> None:
    naked = offering(client, "ECDHE-RSA-NULL-SHA", world)
    async with careless_server.serving() as served, forwarding(served.address) as relay:
        assert await talk(naked, relay.address) == OTP
    assert PIN in relay.recording
    assert OTP in relay.recording
