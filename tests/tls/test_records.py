"""The scanner: every byte counted, in any chunks, on any bytes, within bounds."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asynctls.alerts import Alert
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.tls import Engine, Part, Side, client_context, server_context
from asynctls.tls.records import HandshakeType, Scanner
from tests.tls.octets import facts, handshake, octets, record, scanned

if TYPE_CHECKING:
    from tests.tls.conftest import Kit, Wire

WITH_KIT = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
HEADER = 5


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.ECDSA_P256])
def test_the_parts_sum_up_to_every_byte_full_and_resumed(kit: Kit, key_type: KeyType) -> None:
    world = kit.world
    client = world.holder("client", Profile.CLIENT, key_type=key_type)
    server = world.holder("server", Profile.SERVER, key_type=key_type)
    asking = client_context(trust=world.trust, chain=client.chain, key=client.key)
    serving = server_context(trust=world.trust, chain=server.chain, key=server.key)
    session = None
    seen = []
    for _ in range(2):
        wire = kit.wire(
            Engine(
                asking,
                side=Side.CLIENT,
                admit=kit.let_in,
                server_hostname="server",
                session=session,
            ),
            Engine(serving, side=Side.SERVER, admit=kit.let_in),
        ).shake()
        session = wire.client.ssl_session
        wire.client.write(b"a" * 100)
        wire.server.write(b"b" * 20_000)
        wire.move()
        wire.client.close_notify()
        wire.server.close_notify()
        wire.move()
        for went_by, sent, received in (
            (wire.from_client, wire.client.sent, wire.server.received),
            (wire.from_server, wire.server.sent, wire.client.received),
        ):
            assert sent.total == len(went_by)
            assert sent.bytes_by_part == received.bytes_by_part
            assert sent.bytes_by_part[Part.OTHER] == 0
            assert sent.records == received.records
        seen.append(wire)
    full, resumed = seen
    assert resumed.client.resumed
    for part in (Part.HELLOS, Part.CERTIFICATES, Part.KEY_EXCHANGE, Part.FINISHED, Part.ALERTS):
        assert full.client.sent.bytes_by_part[part] > 0
        assert full.server.sent.bytes_by_part[part] > 0
    assert full.client.sent.bytes_by_part[Part.CERTIFICATE_VERIFY] > 0
    assert full.server.sent.bytes_by_part[Part.TICKETS] > 0
    for part in (Part.CERTIFICATES, Part.KEY_EXCHANGE, Part.CERTIFICATE_VERIFY, Part.TICKETS):
        assert resumed.client.sent.bytes_by_part[part] == 0
        assert resumed.server.sent.bytes_by_part[part] == 0
    # A ChangeCipherSpec, and a Finished under AES-GCM: its explicit nonce, 16 bytes, its tag.
    assert full.client.sent.bytes_by_part[Part.FINISHED] == (HEADER + 1) + (HEADER + 8 + 16 + 16)
    assert full.client.sent.bytes_by_part[Part.APPLICATION_DATA] == HEADER + 8 + 100 + 16
    assert "application_data=129" in repr(full.client.sent)


@pytest.fixture(scope="module")
def directions(kit: Kit) -> tuple[bytes, bytes]:
    """Each direction of a whole connection."""
    wire: Wire = kit.wire(*kit.world.engines()).shake()
    wire.client.write(b"question" * 1000)
    wire.server.write(b"answer" * 5000)
    wire.move()
    wire.client.close_notify()
    wire.server.close_notify()
    wire.move()
    return bytes(wire.from_client), bytes(wire.from_server)


@given(cuts=st.lists(st.integers(0, 60_000), max_size=30))
@WITH_KIT
def test_any_chunks_give_the_same(directions: tuple[bytes, bytes], cuts: list[int]) -> None:
    for direction in directions:
        at = [0, *sorted(cut % len(direction) for cut in cuts), len(direction)]
        pieces = [direction[a:b] for a, b in itertools.pairwise(at)]
        assert facts(scanned(*pieces)) == facts(scanned(direction))


def test_octet_by_octet_gives_the_same(directions: tuple[bytes, bytes]) -> None:
    for direction in directions:
        assert facts(scanned(*octets(direction))) == facts(scanned(direction))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_messages_may_span_records(kit: Kit, directions: tuple[bytes, bytes], size: int) -> None:
    for direction in directions:
        whole = scanned(direction)
        handshake = b""
        rest = direction
        while rest[0] == 22:
            length = int.from_bytes(rest[3:5])
            handshake += rest[HEADER : HEADER + length]
            rest = rest[HEADER + length :]
        cut = b"".join(
            record(22, handshake[at : at + size]) for at in range(0, len(handshake), size)
        )
        scanner = scanned(cut)
        assert scanner.server_hello == whole.server_hello
        assert scanner.certificate == whole.certificate
        assert scanner.meter.total == len(cut)
        one = scanned(record(22, handshake))
        assert facts(one)[2:7] == facts(scanner)[2:7]
        assert one.meter.total == HEADER + len(handshake)


@given(garbage=st.binary(max_size=500), cut=st.integers(0, 500))
@example(garbage=b"\x16\x03\x03\x00\x00" * 3, cut=1)
@example(garbage=b"\x15\x03\x03\x00\x03\x02\x2d\x00", cut=6)
@example(garbage=b"\x14\x03\x03\x00\x01\x01\x16\x03\x03\x00\x02ab\x16\x03\x03\x00\x02ab", cut=9)
def test_garbage_of_every_kind_is_counted_and_never_raises(garbage: bytes, cut: int) -> None:
    scanner = scanned(garbage)
    # At most one record's header and one more that is not whole yet are uncounted.
    assert len(garbage) - 2 * HEADER < scanner.meter.total <= len(garbage)
    assert facts(scanned(garbage[:cut], garbage[cut:])) == facts(scanner)
    assert facts(scanned(*octets(garbage))) == facts(scanner)


def records() -> st.SearchStrategy[bytes]:
    message = st.builds(handshake, st.sampled_from([1, 2, 11, 4, 99]), st.binary(max_size=60))
    cut_short = st.builds(lambda whole, at: whole[:at], message, st.integers(0, 64))
    several = st.lists(message, min_size=2, max_size=3).map(b"".join)
    body = st.one_of(st.binary(max_size=60), message, cut_short, several)
    return st.builds(record, st.sampled_from([20, 21, 22, 23]), body)


@given(stream=st.lists(records(), max_size=8).map(b"".join), cut=st.integers(0, 600))
def test_well_formed_records_of_any_content_are_counted_exactly(stream: bytes, cut: int) -> None:
    scanner = scanned(stream)
    assert scanner.meter.total == len(stream)
    assert facts(scanned(stream[:cut], stream[cut:])) == facts(scanner)
    # So nothing is ever taken whole.
    assert facts(scanned(*octets(stream))) == facts(scanner)


def test_what_is_no_tls_is_not_read_further() -> None:
    scanner = scanned(b"GET / HTTP/1.1\r\n", b"Host: a\r\n\r\n")
    assert scanner.lost
    assert scanner.opening == b"GET / HT"
    assert scanner.meter.total == scanner.meter.bytes_by_part[Part.OTHER] == 27


@pytest.mark.parametrize("header", [b"\x16\x03\x01\x48\x01", b"\x18\x03\x03\x00\x01"])
def test_a_record_too_long_or_of_another_type_is_no_tls(header: bytes) -> None:
    assert scanned(header).lost


def test_a_fatal_alert_is_read_and_a_warning_is_not() -> None:
    assert scanned(record(21, b"\x01\x70")).fatal_alert is None
    scanner = scanned(record(21, b"\x01\x70"), record(21, b"\x02\x2d"), record(21, b"\x02\x28"))
    assert scanner.fatal_alert == Alert.CERTIFICATE_EXPIRED
    assert scanner.meter.bytes_by_part[Part.ALERTS] == 21


def test_an_alert_under_the_connections_keys_is_not_read() -> None:
    scanner = scanned(record(20, b"\x01"), record(21, b"\x02\x2d"))
    assert scanner.encrypted
    assert scanner.fatal_alert is None


def test_an_alert_between_a_messages_pieces_harms_neither() -> None:
    hello = handshake(HandshakeType.CERTIFICATE, b"\x00\x00\x06\x00\x00\x03abc")
    scanner = scanned(record(22, hello[:6]), record(21, b"\x01\x70"), record(22, hello[6:]))
    assert scanner.certificate == b"abc"


def test_only_one_finished_may_come_encrypted() -> None:
    finished = record(22, bytes(40))
    scanner = scanned(record(20, b"\x01"), finished, finished)
    assert scanner.meter.bytes_by_part[Part.FINISHED] == 6 + 45
    assert scanner.meter.bytes_by_part[Part.OTHER] == 45


def test_a_client_hello_is_forgotten_once_nobody_can_ask(directions: tuple[bytes, bytes]) -> None:
    hello = directions[0][: HEADER + int.from_bytes(directions[0][3:5])]
    scanner = scanned(hello)
    assert scanner.client_hello is not None
    assert scanner.client_hello.versions == ("TLS 1.2",)
    scanner.feed(directions[0][len(hello) :])
    assert scanner.client_hello is None


def test_an_endless_message_is_not_kept() -> None:
    scanner = Scanner()
    leaf = b"L" * 500
    body = (1 << 23).to_bytes(3) + len(leaf).to_bytes(3) + leaf
    scanner.feed(record(22, b"\x0b\xff\xff\xff" + body))
    for _ in range(1100):
        scanner.feed(record(22, bytes(16384)))
        assert len(scanner._message) <= 1 << 16
    assert scanner.certificate == leaf
    assert scanner.meter.total > 16 << 20


def test_other_messages_are_not_kept_at_all() -> None:
    scanner = scanned(record(22, handshake(4, bytes(60_000))[:16000]))
    assert len(scanner._message) == 4
