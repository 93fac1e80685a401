"""The engine, client against server in memory, and each against all that is not TLS."""

from __future__ import annotations

import contextlib
import ssl
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asynctls.alerts import Alert
from asynctls.errors import (
    AsynctlsError,
    HandshakeError,
    PeerRefusedError,
    RefusedByPeerError,
    TruncatedError,
)
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.tls import Engine, Side, client_context, server_context
from asynctls.tls.incoming import MOST_IN_BIO_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tls.conftest import Holder, Kit, Wire, World

DAY = timedelta(days=1)


def plaintext_alert(alert: Alert) -> bytes:
    return bytes((21, 3, 3, 0, 2, 2, alert))


def established(kit: Kit, **options: object) -> Wire:
    wire = kit.wire(*kit.world.engines(**options)).shake()  # type: ignore[arg-type]
    assert wire.errors == (None, None)
    return wire


def test_both_ends_agree_on_every_fact(kit: Kit) -> None:
    client, server = (wire := established(kit)).client, wire.server
    assert client.handshake()
    assert server.handshake()
    assert client.peer_certificate == kit.world.server.certificate
    assert server.peer_certificate == kit.world.client.certificate
    assert server.shown_certificate == kit.world.client.certificate
    assert client.tls_unique == server.tls_unique
    assert client.tls_unique is not None
    assert len(client.tls_unique) == 12
    for engine in (client, server):
        assert engine.version == "TLSv1.2"
        assert engine.alpn == kit.alpn
        assert engine.cipher is not None
        assert engine.cipher.startswith("ECDHE-ECDSA-AES")
        assert engine.extended_master_secret
        assert not engine.resumed


def test_nothing_is_known_before_the_handshake(kit: Kit) -> None:
    client, server = kit.world.engines()
    for engine in (client, server):
        assert engine.peer_certificate is None
        assert engine.shown_certificate is None
        assert engine.tls_unique is None
        assert engine.alpn is None
        assert engine.cipher is None
        assert not engine.extended_master_secret
    with pytest.raises(RuntimeError):
        client.write(b"too early")
    client.close_notify()
    assert client.data_to_send() == b""


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_handshake_survives_any_delivery(kit: Kit, chunk: int) -> None:
    wire = kit.wire(*kit.world.engines(), chunk=chunk).shake()
    assert wire.errors == (None, None)
    assert wire.client.tls_unique == wire.server.tls_unique


@pytest.mark.parametrize(
    "alert",
    [
        Alert.CERTIFICATE_EXPIRED,
        Alert.CERTIFICATE_REVOKED,
        Alert.ACCESS_DENIED,
        Alert.NO_APPLICATION_PROTOCOL,
        Alert.INTERNAL_ERROR,
    ],
)
def test_a_refused_client_gets_the_alert_in_place_of_the_last_flight(
    kit: Kit, alert: Alert
) -> None:
    wire = kit.wire(*kit.world.engines(server_admits=kit.refuse(alert, "because"))).shake()
    assert bytes(wire.from_server).endswith(plaintext_alert(alert))
    assert wire.server.sent.bytes_by_part["tickets"] == 0  # type: ignore[index]
    assert isinstance(wire.server_error, PeerRefusedError)
    assert wire.server_error.alert is alert
    assert wire.server_error.reason == "because"
    assert wire.server_error.certificate == kit.world.client.certificate
    assert isinstance(wire.client_error, RefusedByPeerError)
    assert wire.client_error.alert is alert
    assert alert.words in str(wire.client_error)


def test_a_refused_server_is_told_before_the_clients_certificate_leaves(kit: Kit) -> None:
    asked = []

    def admit(certificate: bytes | None, alpn: str | None) -> object:
        asked.append((certificate, alpn))
        return kit.decision(Alert.CERTIFICATE_REVOKED, "it was revoked")

    wire = kit.wire(*kit.world.engines(client_admits=admit)).shake()  # type: ignore[arg-type]
    assert asked == [(kit.world.server.certificate, kit.alpn)]
    assert bytes(wire.from_client).endswith(plaintext_alert(Alert.CERTIFICATE_REVOKED))
    assert wire.server.shown_certificate is None
    assert isinstance(wire.client_error, PeerRefusedError)
    assert wire.client_error.certificate == kit.world.server.certificate
    assert isinstance(wire.server_error, RefusedByPeerError)
    assert wire.server_error.alert is Alert.CERTIFICATE_REVOKED


def test_a_client_asks_again_with_what_openssl_says(kit: Kit) -> None:
    asked = []

    def admit(certificate: bytes | None, alpn: str | None) -> object:
        asked.append((certificate, alpn))
        return kit.decision(Alert.ACCESS_DENIED if len(asked) == 2 else None, "changed my mind")

    wire = kit.wire(*kit.world.engines(client_admits=admit)).shake()  # type: ignore[arg-type]
    assert asked == [(kit.world.server.certificate, kit.alpn)] * 2
    # Its flight has left by then, and an alert in the clear would not be understood any more.
    assert isinstance(wire.client_error, PeerRefusedError)
    assert wire.client.sent.bytes_by_part["alerts"] == 0  # type: ignore[index]
    with pytest.raises(RuntimeError):
        wire.client.write(b"no")


def test_a_failing_decision_lets_nobody_in(kit: Kit) -> None:
    def admit(certificate: bytes | None, alpn: str | None) -> object:
        raise ZeroDivisionError

    wire = kit.wire(*kit.world.engines(server_admits=admit)).shake()  # type: ignore[arg-type]
    assert isinstance(wire.server_error, ZeroDivisionError)
    assert isinstance(wire.client_error, RefusedByPeerError)
    assert wire.client_error.alert is Alert.INTERNAL_ERROR
    with pytest.raises(HandshakeError):
        wire.server.handshake()


@pytest.mark.skipif(ssl.OPENSSL_VERSION_INFO < (3,), reason="OpenSSL 1.1.1 always offers it")
def test_a_missing_extended_master_secret_is_seen(kit: Kit) -> None:
    context = plain_client(kit, ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM")
    context.options |= 1  # SSL_OP_NO_EXTENDED_MASTER_SECRET, which the ssl module does not name
    _, server = kit.world.engines()
    client = Engine(context, side=Side.CLIENT, admit=kit.let_in)
    assert kit.wire(client, server).shake().errors == (None, None)
    assert not client.extended_master_secret
    assert not server.extended_master_secret


# OpenSSL's own refusals


def refused_by_server(wire: Wire, alert: Alert) -> PeerRefusedError:
    assert isinstance(wire.server_error, PeerRefusedError), wire.errors
    assert wire.server_error.alert is alert
    assert isinstance(wire.client_error, RefusedByPeerError)
    assert wire.client_error.alert is alert
    return wire.server_error


def test_an_expired_client_is_told_and_named_with_the_date(kit: Kit) -> None:
    late = kit.world.expired
    error = refused_by_server(
        kit.wire(*kit.world.engines(client=late)).shake(), Alert.CERTIFICATE_EXPIRED
    )
    assert f"expired on {late.not_after:%Y-%m-%d %H:%M:%S} UTC" in error.reason
    assert error.certificate == late.certificate


def test_a_client_from_the_future_is_told(kit: Kit) -> None:
    early = kit.world.holder("early", Profile.CLIENT, issued=DAY)
    error = refused_by_server(
        kit.wire(*kit.world.engines(client=early)).shake(), Alert.BAD_CERTIFICATE
    )
    assert "not valid before" in error.reason
    assert "clock" in error.reason


def test_a_client_of_another_ca_is_told(kit: Kit, other_world: World) -> None:
    error = refused_by_server(
        kit.wire(*kit.world.engines(client=other_world.client)).shake(), Alert.UNKNOWN_CA
    )
    assert "asynctls issuing CA" in error.reason
    assert "not trusted here" in error.reason
    assert error.certificate == other_world.client.certificate


def test_a_certificate_for_servers_alone_is_no_clients(kit: Kit) -> None:
    ttp = kit.world.holder("ttp", Profile.TTP)
    error = refused_by_server(
        kit.wire(*kit.world.engines(client=ttp)).shake(),
        Alert.UNSUPPORTED_CERTIFICATE,
    )
    assert "purpose" in error.reason


def anonymous(kit: Kit) -> Engine:
    context = client_context(trust=kit.world.trust, alpn=[kit.alpn])
    return Engine(context, side=Side.CLIENT, admit=kit.let_in, server_hostname="server")


def test_a_client_without_a_certificate_is_told(kit: Kit) -> None:
    _, server = kit.world.engines()
    error = refused_by_server(kit.wire(anonymous(kit), server).shake(), Alert.HANDSHAKE_FAILURE)
    assert "no certificate" in error.reason
    assert error.certificate is None


def test_what_decides_is_held_until_the_handshake_is_done_and_no_longer(kit: Kit) -> None:
    def admit(_certificate: bytes | None, _alpn: str | None) -> object:
        return kit.decision()

    held = weakref.ref(admit)
    wire = kit.wire(*kit.world.engines(server_admits=admit))  # type: ignore[arg-type]
    del admit
    assert held() is not None
    wire.shake()
    assert held() is None


def test_where_a_certificate_is_optional_admit_hears_that_there_is_none(kit: Kit) -> None:
    asked = []

    def admit(certificate: bytes | None, alpn: str | None) -> object:
        asked.append(certificate)
        return kit.decision()

    holder = kit.world.server
    context = server_context(
        chain=holder.chain,
        key=holder.key,
        trust=kit.world.trust,
        client_certificate=ssl.CERT_OPTIONAL,
    )
    server = Engine(context, side=Side.SERVER, admit=admit)  # type: ignore[arg-type]
    assert kit.wire(anonymous(kit), server).shake().errors == (None, None)
    assert asked == [None]


def plain_client(kit: Kit, version: ssl.TLSVersion, ciphers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(ciphers)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(kit.world.client.chain, kit.world.client.key)
    return context


def test_a_client_that_speaks_tls_1_3_alone_is_told(kit: Kit) -> None:
    _, server = kit.world.engines()
    context = plain_client(kit, ssl.TLSVersion.TLSv1_3, "DEFAULT")
    client = Engine(context, side=Side.CLIENT, admit=kit.let_in)
    error = refused_by_server(kit.wire(client, server).shake(), Alert.PROTOCOL_VERSION)
    assert "it offers TLS 1.3;" in error.reason


def test_a_client_without_a_common_cipher_suite_is_told(kit: Kit) -> None:
    _, server = kit.world.engines()
    context = plain_client(kit, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0")
    client = Engine(context, side=Side.CLIENT, admit=kit.let_in)
    error = refused_by_server(kit.wire(client, server).shake(), Alert.HANDSHAKE_FAILURE)
    assert "cipher suites" in error.reason


def test_another_alpn_is_for_admit_to_refuse(kit: Kit) -> None:
    seen = []

    def admit(certificate: bytes | None, alpn: str | None) -> object:
        seen.append(alpn)
        return kit.decision(Alert.NO_APPLICATION_PROTOCOL, "no common protocol")

    wire = kit.wire(*kit.world.engines(alpn="http/1.1", server_admits=admit)).shake()  # type: ignore[arg-type]
    assert seen == [None]
    refused_by_server(wire, Alert.NO_APPLICATION_PROTOCOL)


def test_a_wrong_host_is_refused_with_the_names_that_there_are(kit: Kit) -> None:
    holder = kit.world.holder("web", Profile.SERVER, sans=("web", "10.0.0.7", "spiffe://d/web"))
    wire = kit.wire(*kit.world.engines(server=holder, host="server")).shake()
    assert isinstance(wire.client_error, PeerRefusedError)
    assert wire.client_error.reason == (
        "its certificate is for web, 10.0.0.7, spiffe://d/web, not for server"
    )
    assert isinstance(wire.server_error, RefusedByPeerError)
    assert wire.server_error.alert is Alert.BAD_CERTIFICATE


def test_a_host_is_not_matched_by_the_common_name(kit: Kit) -> None:
    # The common name of this one is its DNS name; 'server' is in no SAN.
    holder = kit.world.holder("a", Profile.SERVER, sans=("spiffe://d/server",))
    wire = kit.wire(*kit.world.engines(server=holder, host="server")).shake()
    assert isinstance(wire.client_error, PeerRefusedError)


def test_an_address_is_matched_as_an_address(kit: Kit) -> None:
    holder = kit.world.holder("b", Profile.SERVER, sans=("10.0.0.7",))
    assert kit.wire(*kit.world.engines(server=holder, host="10.0.0.7")).shake().errors == (
        None,
        None,
    )
    wire = kit.wire(*kit.world.engines(server=holder, host="10.0.0.8")).shake()
    assert "not for 10.0.0.8" in str(wire.client_error)


@pytest.mark.parametrize("host", ["", ".example", "a" * 300, "\udcff", "a..b"])
def test_what_cannot_be_a_host_name_is_said_so(kit: Kit, host: str | None) -> None:
    context = client_context(trust=kit.world.trust)
    with pytest.raises(HandshakeError, match="cannot be a server's host name"):
        Engine(context, side=Side.CLIENT, admit=kit.let_in, server_hostname=host)


def test_a_context_that_checks_the_host_is_never_used_without_one(kit: Kit) -> None:
    context = client_context(trust=kit.world.trust)
    with pytest.raises(HandshakeError, match="no host name"):
        Engine(context, side=Side.CLIENT, admit=kit.let_in)


# Peers that are something else


def test_an_http_client_is_recognised(kit: Kit) -> None:
    _, server = kit.world.engines()
    server.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(HandshakeError, match="not TLS: it looks like HTTP"):
        server.handshake()


def test_an_http_server_is_recognised(kit: Kit) -> None:
    client, _ = kit.world.engines()
    assert not client.handshake()
    client.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(HandshakeError, match="not TLS: it looks like HTTP"):
        client.handshake()


def test_a_peer_that_leaves_is_told_apart_by_how_far_it_came(kit: Kit) -> None:
    client, server = kit.world.engines()
    server.receive_data(b"")
    with pytest.raises(HandshakeError, match="without having said anything"):
        server.handshake()
    _, server = kit.world.engines()
    client.handshake()
    server.receive_data(client.data_to_send())
    assert not server.handshake()
    server.receive_data(b"")
    with pytest.raises(HandshakeError, match="after its ClientHello"):
        server.handshake()
    client.receive_data(server.data_to_send())
    assert not client.handshake()
    client.receive_data(b"")
    with pytest.raises(HandshakeError, match="may have refused our certificate"):
        client.handshake()


def test_a_damaged_finished_is_refused(kit: Kit) -> None:
    client, server = kit.world.engines()
    wire = kit.wire(client, server)
    wire.advance()
    wire.move()
    wire.advance()
    wire.move()
    client.handshake()
    flight = bytearray(client.data_to_send())
    flight[-1] ^= 1
    server.receive_data(bytes(flight))
    with pytest.raises(PeerRefusedError) as caught:
        server.handshake()
    assert caught.value.alert is Alert.BAD_RECORD_MAC


def test_a_stripped_version_in_flight_is_found_out(kit: Kit) -> None:
    """A ClientHello rewritten in flight makes the two Finished disagree."""
    client, server = kit.world.engines()
    client.handshake()
    hello = bytearray(client.data_to_send())
    # Another random: what a man in the middle may change and neither end can see at once.
    hello[11:43] = bytes(32)
    server.receive_data(bytes(hello))
    wire = kit.wire(client, server).shake()
    assert all(isinstance(error, HandshakeError) for error in wire.errors)


@given(garbage=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_garbage_raises_nothing_but_our_own_errors(kit: Kit, garbage: bytes) -> None:
    for engine in kit.world.engines():
        engine.handshake()
        for piece in (garbage, b""):
            engine.receive_data(piece)
            with contextlib.suppress(AsynctlsError):
                assert not engine.handshake()
        with pytest.raises(HandshakeError):
            engine.handshake()
        assert engine.data_to_send() is not None


@given(at=st.integers(0, 2000), value=st.integers(0, 255), flight_number=st.integers(0, 3))
# The client's certificate with a negative serial number.
@example(at=30, value=128, flight_number=2)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
def test_a_changed_octet_anywhere_is_found_out_or_harmless(
    kit: Kit, at: int, value: int, flight_number: int
) -> None:
    client, server = kit.world.engines()
    errors: list[Exception] = []
    flights = 0
    for _ in range(4):
        for sender, receiver in ((client, server), (server, client)):
            for engine in (sender, receiver):
                try:
                    engine.handshake()
                except AsynctlsError as error:
                    errors.append(error)
            flight = bytearray(sender.data_to_send())
            if flight:
                if flights == flight_number:
                    flight[at % len(flight)] ^= value
                flights += 1
                receiver.receive_data(bytes(flight))
    if not errors and client.tls_unique and server.tls_unique:
        # A record header's minor version is in no MAC, and OpenSSL lets some pass.
        assert client.tls_unique == server.tls_unique


# Data


def test_data_go_both_ways_and_are_counted(kit: Kit) -> None:
    wire = established(kit)
    client, server = wire.client, wire.server
    assert server.read(100) is None
    before = len(wire.from_client)
    produced = client.write(b"hello")
    wire.move()
    assert produced == len(wire.from_client) - before == 5 + 8 + 5 + 16
    assert server.read(2) == b"he"
    assert server.read(100) == b"llo"
    assert server.read(100) is None
    large = bytes(range(256)) * 300
    produced = server.write(large)
    assert produced > len(large)
    wire.move()
    got = b""
    while (piece := client.read(1 << 20)) is not None:
        got += piece
    assert got == large
    assert client.write(b"") == 0
    with pytest.raises(ValueError, match="look like the end"):
        client.read(0)


def test_full_records_are_read_together_as_far_as_there_is_room_and_others_by_themselves(
    kit: Kit,
) -> None:
    wire = established(kit)
    client, server = wire.client, wire.server
    full = 1 << 14
    for octets in (2 * full + 9, 7, 2 * full, 2 * full):
        client.write(bytes(octets))
    wire.move()
    read = [len(server.read(room) or b"") for room in (3 * full, 3 * full, 3 * full, full, full)]
    assert read == [2 * full + 9, 7, 3 * full, full, 0]


def test_much_is_written_in_full_records(kit: Kit) -> None:
    wire = established(kit)
    records = wire.client.sent.records
    wire.client.write(bytes(1 << 18))
    assert wire.client.sent.records == records + 16


def test_what_openssl_does_not_take_at_once_is_offered_again(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = established(kit)

    class Slow:
        """It takes a part, as with SSL_MODE_ENABLE_PARTIAL_WRITE, which Python does not set."""

        def __init__(self, tls: ssl.SSLObject) -> None:
            self._tls = tls

        def write(self, content: memoryview) -> int:
            return self._tls.write(content[:1000])

    content = bytes(range(256)) * 10
    slow = Slow(wire.client._tls)
    with monkeypatch.context() as patch:
        patch.setattr(wire.client, "_tls", slow)
        produced = wire.client.write(content)
    before = len(wire.from_client)
    wire.move()
    assert produced == len(wire.from_client) - before
    assert b"".join(iter(lambda: wire.server.read(1 << 14) or b"", b"")) == content


def test_each_direction_ends_by_itself(kit: Kit) -> None:
    wire = established(kit)
    client, server = wire.client, wire.server
    client.write(b"last words")
    client.close_notify()
    with pytest.raises(RuntimeError):
        client.write(b"no more")
    wire.move()
    assert server.read(100) == b"last words"
    assert server.read(100) == b""
    assert server.read(100) == b""
    server.write(b"answer")
    wire.move()
    assert client.read(100) == b"answer"
    server.close_notify()
    wire.move()
    assert client.read(100) == b""


def test_data_on_their_way_when_we_end_can_still_be_read(kit: Kit) -> None:
    wire = established(kit)
    client, server = wire.client, wire.server
    server.write(b"x" * 40_000)
    flight = server.data_to_send()
    client.receive_data(flight[:30_001])
    assert client.read(10) == b"x" * 10
    client.close_notify()
    client.receive_data(flight[30_001:])
    server.write(b"y")
    server.close_notify()
    client.receive_data(server.data_to_send())
    got = bytearray()
    while piece := client.read(1000):
        got += piece
    assert bytes(got) == b"x" * 39_990 + b"y"
    assert client.read(1) == b""
    server.receive_data(client.data_to_send())
    assert server.read(1) == b""


def test_a_fin_without_close_notify_is_a_truncation_and_we_may_go_on_writing(kit: Kit) -> None:
    wire = established(kit)
    client, server = wire.client, wire.server
    client.write(b"half a mess")
    server.receive_data(client.data_to_send())
    server.receive_data(b"")
    assert server.read(100) == b"half a mess"
    for _ in range(2):
        with pytest.raises(TruncatedError, match="close_notify"):
            server.read(100)
    server.write(b"still here")
    server.close_notify()
    client.receive_data(server.data_to_send())
    assert client.read(100) == b"still here"
    assert client.read(100) == b""


def test_a_fin_in_the_middle_of_a_record_is_a_truncation(kit: Kit) -> None:
    wire = established(kit)
    wire.client.write(b"never whole")
    wire.server.receive_data(wire.client.data_to_send()[:-1])
    wire.server.receive_data(b"")
    with pytest.raises(TruncatedError):
        wire.server.read(100)


def test_damaged_data_end_the_connection_and_the_peer_is_told(kit: Kit) -> None:
    wire = established(kit)
    client, server = wire.client, wire.server
    client.write(b"one")
    client.write(b"two")
    flight = bytearray(client.data_to_send())
    flight[-1] ^= 1
    server.receive_data(bytes(flight))
    assert server.read(100) == b"one"
    assert not server.damaged
    for _ in range(2):
        with pytest.raises(TruncatedError, match="tampered"):
            server.read(100)
    assert server.damaged
    with pytest.raises(TruncatedError):
        server.write(b"no")
    server.close_notify()
    client.receive_data(server.data_to_send())
    with pytest.raises(TruncatedError, match="by an alert: bad record mac") as ended:
        client.read(100)
    assert ended.value.alert is Alert.BAD_RECORD_MAC
    assert not client.damaged


def test_a_replayed_record_is_found_out(kit: Kit) -> None:
    wire = established(kit)
    wire.client.write(b"pay")
    record = wire.client.data_to_send()
    wire.server.receive_data(record)
    assert wire.server.read(100) == b"pay"
    wire.server.receive_data(record)
    with pytest.raises(TruncatedError):
        wire.server.read(100)


def test_what_comes_after_close_notify_is_left_aside(kit: Kit) -> None:
    wire = established(kit)
    client, server = wire.client, wire.server
    client.close_notify()
    server.receive_data(client.data_to_send())
    server.receive_data(b"\x17\x03\x03\x00\x05hello")
    assert server.read(10) == b""
    server.close_notify()
    assert server.data_to_send()


@given(garbage=st.binary(min_size=1, max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_garbage_after_the_handshake_is_a_truncation(kit: Kit, garbage: bytes) -> None:
    wire = established(kit)
    wire.server.receive_data(garbage)
    wire.server.receive_data(b"")
    with pytest.raises(TruncatedError):
        wire.server.read(100)
    wire.server.close_notify()


# Resumption

_END = "-----END CERTIFICATE-----\n"


class Resuming:
    """Two contexts that live on, as a client's and a server's do."""

    def __init__(self, kit: Kit, client: Holder | None = None) -> None:
        self.kit = kit
        world = kit.world
        client = client or world.client
        self.asking = client_context(
            trust=world.trust, chain=client.chain, key=client.key, alpn=[kit.alpn]
        )
        self.serving = server_context(
            trust=world.trust, chain=world.server.chain, key=world.server.key, alpn=[kit.alpn]
        )
        self.session: ssl.SSLSession | None = None

    def engines(
        self, *, client_admits: object = None, server_admits: object = None
    ) -> tuple[Engine, Engine]:
        client = Engine(
            self.asking,
            side=Side.CLIENT,
            admit=client_admits or self.kit.let_in,  # type: ignore[arg-type]
            server_hostname="server",
            session=self.session,
        )
        server = Engine(
            self.serving,
            side=Side.SERVER,
            admit=server_admits or self.kit.let_in,  # type: ignore[arg-type]
        )
        return client, server

    def connect(self, **admits: object) -> Wire:
        wire = self.kit.wire(*self.engines(**admits)).shake()
        self.session = wire.client.ssl_session
        return wire


def test_a_resumed_handshake_has_all_its_facts(kit: Kit) -> None:
    resuming = Resuming(kit)
    full = resuming.connect()
    asked = []

    def admit(certificate: bytes | None, alpn: str | None) -> object:
        asked.append((certificate, alpn))
        return kit.decision()

    wire = resuming.connect(client_admits=admit, server_admits=admit)
    assert wire.errors == (None, None)
    assert wire.client.resumed
    assert wire.server.resumed
    assert wire.client.extended_master_secret
    assert wire.server.extended_master_secret
    assert wire.client.tls_unique == wire.server.tls_unique != full.client.tls_unique
    assert asked == [
        (kit.world.server.certificate, kit.alpn),
        (kit.world.client.certificate, kit.alpn),
    ]
    assert resuming.serving.session_stats()["number"] == 0


def test_what_comes_behind_a_handshake_makes_no_large_buffer_and_is_read(kit: Kit) -> None:
    resuming = Resuming(kit)
    resuming.connect()
    client, server = resuming.engines()
    client.handshake()
    server.receive_data(client.data_to_send())
    assert not server.handshake()
    client.receive_data(server.data_to_send())
    assert client.handshake()
    client.write(bytes(250_000))
    server.receive_data(client.data_to_send())
    most = server._incoming.bio.pending
    assert server.handshake()
    received = 0
    while (piece := server.read(1 << 16)) is not None:
        received += len(piece)
        most = max(most, server._incoming.bio.pending)
    assert received == 250_000
    assert 0 < most <= MOST_IN_BIO_BYTES


def test_a_flight_of_more_than_that_buffer_is_read_to_its_end(kit: Kit, tmp_path: Path) -> None:
    world = kit.world
    leaf, *issuing = world.client.chain.read_text().split("-----END CERTIFICATE-----\n")[:-1]
    long = [leaf, *issuing * (90_000 // len(ssl.PEM_cert_to_DER_cert(f"{issuing[0]}{_END}")))]
    chain = tmp_path / "long.pem"
    chain.write_text("".join(f"{each}{_END}" for each in long))
    asking = client_context(trust=world.trust, chain=chain, key=world.client.key, alpn=[kit.alpn])
    client = Engine(asking, side=Side.CLIENT, admit=kit.let_in, server_hostname="server")
    _, server = world.engines()
    client.handshake()
    server.receive_data(client.data_to_send())
    assert not server.handshake()
    client.receive_data(server.data_to_send())
    assert not client.handshake()
    flight = client.data_to_send()
    assert len(flight) > MOST_IN_BIO_BYTES
    server.receive_data(flight)
    assert server.handshake()


def test_a_client_refused_in_a_resumption_hears_nothing(kit: Kit) -> None:
    resuming = Resuming(kit)
    resuming.connect()
    wire = resuming.connect(server_admits=kit.refuse(Alert.CERTIFICATE_REVOKED, "revoked"))
    assert wire.server.resumed
    assert isinstance(wire.server_error, PeerRefusedError)
    assert wire.server_error.certificate == kit.world.client.certificate
    assert wire.server.sent.bytes_by_part["alerts"] == 0  # type: ignore[index]
    with pytest.raises(RuntimeError):
        wire.server.write(b"no")


def test_a_server_refused_in_a_resumption_is_told(kit: Kit) -> None:
    resuming = Resuming(kit)
    resuming.connect()
    wire = resuming.connect(client_admits=kit.refuse(Alert.CERTIFICATE_REVOKED, "revoked"))
    assert wire.client.resumed
    assert bytes(wire.from_client).endswith(plaintext_alert(Alert.CERTIFICATE_REVOKED))
    assert isinstance(wire.server_error, RefusedByPeerError)
    assert wire.server_error.alert is Alert.CERTIFICATE_REVOKED


def test_a_session_of_another_context_costs_a_full_handshake_only(kit: Kit) -> None:
    resuming = Resuming(kit)
    resuming.connect()
    later = Resuming(kit)
    later.session = resuming.session
    wire = later.connect()
    assert wire.errors == (None, None)
    assert not wire.client.resumed


def test_a_rebuilt_context_resumes_nobody(kit: Kit) -> None:
    resuming = Resuming(kit)
    resuming.connect()
    resuming.serving = Resuming(kit).serving
    wire = resuming.connect()
    assert wire.errors == (None, None)
    assert not wire.server.resumed


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.ECDSA_P256, KeyType.ECDSA_P384])
def test_every_key_type_of_leaves_works(kit: Kit, key_type: KeyType) -> None:
    client = kit.world.holder("client", Profile.CLIENT, key_type=key_type)
    server = kit.world.holder("server", Profile.SERVER, key_type=key_type)
    established(kit, client=client, server=server)
