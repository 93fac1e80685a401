"""The lister: each message by its name, in any chunks, on any bytes, counted by the scanner."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynctls.tls import Part
from asynctls.tls.messages import GCM_OCTETS, RECORD_HEADER_OCTETS, Lister, TLSMessage
from asynctls.tls.records import Scanner
from tests.tls.octets import handshake, record

if TYPE_CHECKING:
    from tests.tls.conftest import Kit

CLIENTS_FULL = [
    "ClientHello",
    "Certificate",
    "ClientKeyExchange",
    "CertificateVerify",
    "ChangeCipherSpec",
    "Finished",
]
SERVERS_FULL = [
    "ServerHello",
    "Certificate",
    "ServerKeyExchange",
    "CertificateRequest",
    "ServerHelloDone",
    "NewSessionTicket",
    "ChangeCipherSpec",
    "Finished",
]
ENCRYPTED = ["application data", "Alert"]


def listed(*chunks: bytes) -> list[TLSMessage]:
    lister = Lister()
    return [message for chunk in chunks for message in lister.feed(chunk)]


@pytest.fixture(scope="module")
def directions(kit: Kit) -> tuple[bytes, bytes]:
    """Each direction of a connection with 100 bytes of data both ways."""
    wire = kit.wire(*kit.world.engines()).shake()
    for engine in (wire.client, wire.server):
        engine.write(b"a" * 100)
        engine.close_notify()
    wire.move()
    return bytes(wire.from_client), bytes(wire.from_server)


def test_every_message_has_the_name_that_its_rfc_gives_it(directions: tuple[bytes, bytes]) -> None:
    for direction, names in zip(directions, (CLIENTS_FULL, SERVERS_FULL), strict=True):
        assert [message.name for message in listed(direction)] == names + ENCRYPTED


def test_what_is_encrypted_says_so_and_has_no_body(directions: tuple[bytes, bytes]) -> None:
    for direction in directions:
        hidden = [message for message in listed(direction) if message.encrypted]
        assert [message.name for message in hidden] == ["Finished", *ENCRYPTED]
        assert not any(message.body for message in hidden)
        assert hidden[1].octets == RECORD_HEADER_OCTETS + GCM_OCTETS + 100


@settings(max_examples=50)
@given(st.data())
def test_chunks_change_nothing(directions: tuple[bytes, bytes], data: st.DataObject) -> None:
    direction = data.draw(st.sampled_from(directions))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(direction)), max_size=20)))
    edges = [0, *cuts, len(direction)]
    chunks = [direction[a:b] for a, b in itertools.pairwise(edges)]
    assert listed(*chunks) == listed(direction)


def by_part(messages: list[TLSMessage]) -> Counter[Part]:
    counted: Counter[Part] = Counter()
    for message in messages:
        counted[message.part] += message.octets
    return counted


def test_what_is_listed_is_what_a_scanner_counts(directions: tuple[bytes, bytes]) -> None:
    for direction in directions:
        scanner = Scanner()
        scanner.feed(direction)
        messages = listed(direction)
        assert by_part(messages) == {
            part: n for part, n in scanner.meter.bytes_by_part.items() if n
        }
        assert sum(message.octets for message in messages) == len(direction)
        assert sum(message.records for message in messages) == scanner.meter.records


def test_messages_that_share_a_record_are_told_apart() -> None:
    first, second = listed(record(22, handshake(2, b"a" * 40) + handshake(14, b"")))
    assert (first.name, first.octets, first.records) == ("ServerHello", 5 + 44, 1)
    assert (second.name, second.octets, second.records) == ("ServerHelloDone", 4, 0)


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 43])
def test_a_message_in_two_records_is_one(cut: int) -> None:
    whole = handshake(11, b"a" * 40)
    (message,) = listed(record(22, whole[:cut]) + record(22, whole[cut:]))
    assert (message.name, message.octets, message.records) == ("Certificate", 44 + 2 * 5, 2)
    assert message.body == b"a" * 40


def test_of_a_message_beyond_all_measure_only_the_beginning_is_kept() -> None:
    size = 1 << 17
    records = [record(22, b"a" * (1 << 14)) for _ in range(size >> 14)]
    (message,) = listed(record(22, b"\x0b" + size.to_bytes(3)), *records)
    assert message.octets == 9 + len(records) * (5 + (1 << 14))
    assert len(message.body) < 1 << 16


def test_what_is_no_tls_is_counted_as_that_and_ends_the_list_of_messages(
    directions: tuple[bytes, bytes],
) -> None:
    *before, first, second = listed(directions[0], b"GET / HTTP/1.1\r\n", b"\x16\x03\x03")
    assert [message.name for message in before] == CLIENTS_FULL + ENCRYPTED
    assert (first.name, first.part, first.octets) == ("not TLS", Part.OTHER, 16)
    assert (second.name, second.part, second.octets) == ("not TLS", Part.OTHER, 3)


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_any_bytes_are_listed_and_counted_once(chunks: list[bytes]) -> None:
    lister = Lister()
    octets = sum(message.octets for chunk in chunks for message in lister.feed(chunk))
    assert octets <= sum(map(len, chunks))
    assert octets <= lister.scanner.meter.total
