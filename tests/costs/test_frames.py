"""What encrypted records carried, out of their lengths and one end's view of the plaintext."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynctls.costs.frames import RECORD_OVERHEAD, Exchanges, Frames, Overhearing, Told
from asynctls.costs.report import Group
from asynctls.http import Request, Response
from asynctls.mac import Secret
from asynctls.session.sealer import Sealer
from asynctls.session.states import Role

KEY = Secret(bytes(32))


def overheard(*chunks: bytes) -> Overhearing:
    hearing = Overhearing()
    for chunk in chunks:
        hearing.take(chunk)
    return hearing


@pytest.fixture
def frames() -> list[bytes]:
    """A small session's direction: KEY, two messages of which one is large, RECEIPT, CLOSE."""
    sealer = Sealer(Role.CLIENT, KEY)
    return [
        sealer.key(KEY, max_message_bytes=100),
        sealer.data(b"a" * 72, receipt_wanted=True),
        sealer.data(b"b" * 40_000),
        sealer.receipt(7),
        sealer.close(),
    ]


def told(frames: list[bytes], records: list[int]) -> list[Told]:
    """What a client's records of these plaintext lengths carried."""
    view = Frames(sent=overheard(*frames).frames, received=())
    return [
        each
        for plaintext in records
        for each in view.record(plaintext + RECORD_OVERHEAD, by_client=True)
    ]


def test_a_frame_in_a_record_has_its_name_its_group_and_its_payload(frames: list[bytes]) -> None:
    found = told(frames[:2], [len(frame) for frame in frames[:2]])
    assert [(each.name, each.group, each.payload) for each in found] == [
        ("KEY", Group.SHARED_SECRET, 0),
        ("DATA", Group.MESSAGES, 72),
    ]
    assert [each.octets for each in found] == [len(each) + RECORD_OVERHEAD for each in frames[:2]]
    assert found[1].fields["flags"] == "receipt wanted"


def test_no_field_tells_the_secret(frames: list[bytes]) -> None:
    assert KEY.reveal().hex() not in repr(told(frames, [len(frame) for frame in frames]))


def test_a_frame_in_several_records_is_one(frames: list[bytes]) -> None:
    size = len(frames[2])
    first, *others = told(frames[2:3], [1 << 14, 1 << 14, size - (1 << 15)])
    assert not first.continues
    assert all(each.continues for each in others)
    assert sum(each.payload for each in (first, *others)) == 40_000
    assert sum(each.octets for each in (first, *others)) == size + 3 * RECORD_OVERHEAD
    assert sum(each.records for each in (first, *others)) == 3


def test_frames_that_share_a_record_share_its_overhead_once(frames: list[bytes]) -> None:
    receipt, close = told(frames[3:], [len(frames[3]) + len(frames[4])])
    assert (receipt.name, receipt.octets, receipt.records) == (
        "RECEIPT",
        len(frames[3]) + RECORD_OVERHEAD,
        1,
    )
    assert (close.name, close.octets, close.records) == ("CLOSE", len(frames[4]), 0)


def test_what_nobody_read_is_counted_all_the_same(frames: list[bytes]) -> None:
    *_, rest = told(frames[4:], [len(frames[4]) + 10])
    assert (rest.name, rest.group, rest.octets) == ("application data", Group.CLOSE, 10)


@settings(max_examples=50)
@given(st.data())
def test_any_cut_into_records_keeps_every_byte(data: st.DataObject) -> None:
    sealer = Sealer(Role.SERVER, KEY)
    frames = [sealer.data(b"a" * n) for n in data.draw(st.lists(st.integers(0, 300), max_size=8))]
    whole = b"".join(frames)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=8)))
    edges = [0, *(cut for cut in cuts if cut < len(whole)), len(whole)]
    records = [b - a for a, b in itertools.pairwise(edges) if b > a]
    found = told(frames, records)
    assert sum(each.octets for each in found) == len(whole) + len(records) * RECORD_OVERHEAD
    assert sum(each.records for each in found) == len(records)
    assert sum(each.payload for each in found) == sum(
        frame.payload for frame in overheard(whole).frames
    )
    assert sum(not each.continues for each in found) == len(frames)


@settings(max_examples=50)
@given(st.data())
def test_frames_are_overheard_in_any_chunks(data: st.DataObject) -> None:
    sealer = Sealer(Role.SERVER, KEY)
    whole = b"".join(sealer.data(b"a" * n) for n in (0, 30, 300, 65_536)) + sealer.close()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=8)))
    edges = [0, *cuts, len(whole)]
    chunks = [whole[a:b] for a, b in itertools.pairwise(edges)]
    assert overheard(*chunks).frames == overheard(whole).frames
    assert [frame.payload for frame in overheard(whole).frames] == [0, 30, 300, 65_536, 0]


def test_what_is_no_frame_ends_the_overhearing_and_raises_nothing(frames: list[bytes]) -> None:
    hearing = overheard(frames[0], b"GET / HTTP/1.1\r\n" * 10, frames[1])
    assert [frame.kind.name for frame in hearing.frames] == ["KEY"]


def test_requests_and_answers_take_turns() -> None:
    path = "/.well-known/est"
    view = Exchanges(
        [
            (Request("GET", f"{path}/cacerts"), Response(200, body=b"a" * 500)),
            (Request("POST", f"{path}/simpleenroll", body=b"b" * 300), Response(200, body=b"c")),
            (Request("GET", f"/crl/{'0123456789' * 4}"), Response(404)),
            (Request("GET", "/crl/root"), Response(200, body=b"d" * 10)),
        ]
    )
    turns = [True, False, False, True, False, True, False, True, False]
    found = [each for turn in turns for each in view.record(200, by_client=turn)]
    assert [(each.name, each.group, each.payload, each.continues) for each in found] == [
        ("GET /cacerts", Group.CA_CHAIN, 0, False),
        ("200 /cacerts", Group.CA_CHAIN, 500, False),
        ("200 /cacerts", Group.CA_CHAIN, 0, True),
        ("POST /simpleenroll", Group.CSR, 300, False),
        ("200 /simpleenroll", Group.CERTIFICATE, 1, False),
        ("GET /crl/01234567…", Group.CRLS, 0, False),
        ("404 /crl/01234567…", Group.CRLS, 0, False),
        ("GET /crl/root", Group.CRLS, 0, False),
        ("200 /crl/root", Group.CRLS, 10, False),
    ]
    # What is cut in a name is told in full beside it, and nothing else is.
    (asked,) = (each.fields for each in found if each.name == "GET /crl/01234567…")
    assert asked == {"path": f"/crl/{'0123456789' * 4}"}
    assert sum("path" in each.fields for each in found) == 2
