"""The frames: one shape, byte for byte, and a name for everything that is not it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynctls import mac
from asynctls.errors import (
    BindingMismatchError,
    ForgedError,
    MalformedError,
    MessageTooLargeError,
    MissingError,
    ReplayedError,
    SessionClosedError,
    SessionError,
    SessionTruncatedError,
)
from asynctls.mac import Secret
from asynctls.session.frames import Close, Data, Error, Frame, GoAway, Key, Ready, Receipt
from asynctls.session.opener import Opener
from asynctls.session.sealer import Sealer
from asynctls.session.shape import MAX_ERROR_TEXT, MAX_PAYLOAD, SHAPES, external_aad
from asynctls.session.states import FrameType, Role

KEY = Secret(bytes(range(32)))
FIXED = "d18453a201053a000100004a"


def hand_made(
    kind: int,
    payload: bytes,
    *,
    sequence: int = 0,
    head: bytes | None = None,
    map_head: bytes = b"\xa0",
    tag_head: bytes = b"\x58\x20",
) -> bytes:
    """A frame with a right tag and, if asked, a wrong shape."""
    if head is None:
        head = (
            bytes((0x40 + len(payload),)) if len(payload) < 24 else b"\x58" + bytes([len(payload)])
        )
    protected = bytes.fromhex(FIXED)[2:] + kind.to_bytes(2, "big") + sequence.to_bytes(8, "big")
    content = b"\x84\x64MAC0" + protected + external_aad(Role.CLIENT) + head + payload
    tag = mac.tag(KEY.reveal(), content)
    return b"\xd1\x84" + protected + map_head + head + payload + tag_head + tag


def opener(*, sequence: int = 0) -> Opener:
    return Opener(Role.CLIENT, KEY, sequence=sequence)


def opened(*frames: bytes, sequence: int = 0) -> list[Frame]:
    """What an opener makes of these frames."""
    under_test = opener(sequence=sequence)
    for frame in frames:
        under_test.receive_data(frame)
    return list(iter(under_test.next_frame, None))


def refused(frame: bytes, error: type[SessionError], match: str | None = None) -> None:
    with pytest.raises(error, match=match) as caught:
        opened(frame)
    assert type(caught.value) is error


def every_frame() -> list[tuple[bytes, Frame]]:
    sealer = Sealer(Role.CLIENT, KEY)
    secret = Secret(b"s" * 32)
    return [
        (sealer.key(secret, max_message_bytes=7), Key(0, secret, 7)),
        (sealer.ready(max_message_bytes=9), Ready(1, 9)),
        (sealer.data(b"whole"), Data(2, b"whole")),
        (sealer.data(b"piece", more=True), Data(3, b"piece", more=True)),
        (sealer.data(b"", receipt_wanted=True), Data(4, b"", receipt_wanted=True)),
        (sealer.receipt(4), Receipt(5, 4)),
        (sealer.goaway(), GoAway(6)),
        (sealer.error(7, "it ended"), Error(7, 7, "it ended")),
        (sealer.close(), Close(8)),
    ]


def test_every_frame_comes_back_as_it_was_sealed() -> None:
    frames = every_frame()
    assert opened(*(sealed for sealed, _ in frames)) == [frame for _, frame in frames]


def test_the_shape_is_the_one_that_the_protocol_prints() -> None:
    frame = Sealer(Role.CLIENT, KEY).data(b"hello", receipt_wanted=True)
    content = bytes.fromhex("84644d41433053a201053a000100004a03020000000000000000") + (
        b"\x51asynctls/1 client\x45hello"
    )
    expected = FIXED + "03020000000000000000" + "a0" + "4568656c6c6f" + "5820"
    assert frame.hex() == expected + mac.tag(KEY.reveal(), content).hex()


@pytest.mark.parametrize("length", [0, 1, 23, 24, 255, 256, 65535, 65536])
def test_a_payload_of_any_allowed_length_comes_back(length: int) -> None:
    payload = bytes(length)
    assert opened(Sealer(Role.CLIENT, KEY).data(payload)) == [Data(0, payload)]


@given(
    data=st.data(), payloads=st.lists(st.binary(max_size=300), max_size=8), spoiled=st.booleans()
)
def test_any_cutting_up_gives_the_same_frames(
    *, data: st.DataObject, payloads: list[bytes], spoiled: bool
) -> None:
    sealer = Sealer(Role.CLIENT, KEY)
    stream = b"".join(sealer.data(payload) for payload in payloads)
    if spoiled and stream:
        at = data.draw(st.integers(0, len(stream) - 1))
        stream = (
            stream[:at] + bytes((stream[at] ^ data.draw(st.integers(1, 255)),)) + stream[at + 1 :]
        )
    whole = verdict([stream])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert verdict(pieces) == whole
    assert verdict([bytes((byte,)) for byte in stream]) == whole
    if not spoiled:
        assert whole == ([Data(n, payload) for n, payload in enumerate(payloads)], None)


def verdict(pieces: list[bytes]) -> tuple[list[Frame], str | None]:
    under_test, frames = opener(), []
    try:
        for piece in pieces:
            under_test.receive_data(piece)
            while (frame := under_test.next_frame()) is not None:
                frames.append(frame)
        under_test.receive_eof()
    except SessionError as error:
        return frames, repr(error)
    return frames, None


@given(st.binary(max_size=400))
def test_what_nobody_sealed_is_never_a_frame(stream: bytes) -> None:
    frames, error = verdict([stream])
    assert not frames
    assert (error is None) == (not stream)


@given(st.integers(0, 7), st.data())
def test_no_bit_of_a_frame_can_be_changed_unseen(bit: int, data: st.DataObject) -> None:
    frame = bytearray(Sealer(Role.CLIENT, KEY).data(b"the message", receipt_wanted=True))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << bit
    frames, error = verdict([bytes(frame)])
    assert not frames
    assert error is not None


# Each refusal has its name


def test_a_changed_payload_is_named_a_forgery() -> None:
    frame = Sealer(Role.CLIENT, KEY).data(b"pay 100").replace(b"100", b"999")
    refused(frame, ForgedError, "DATA #0 has a tag that the session's key did not make")


def test_a_frame_of_another_key_is_named_a_forgery() -> None:
    refused(Sealer(Role.CLIENT, Secret.random()).close(), ForgedError)


def test_a_frame_reflected_to_its_sender_is_named_a_forgery() -> None:
    refused(Sealer(Role.SERVER, KEY).close(), ForgedError)


def test_a_replayed_frame_is_named_a_replay() -> None:
    frame = Sealer(Role.CLIENT, KEY).data(b"once")
    with pytest.raises(ReplayedError, match="DATA #0 came again: #1 was due"):
        opened(frame, frame)


def test_a_frame_out_of_the_future_means_that_others_are_missing() -> None:
    sealer = Sealer(Role.CLIENT, KEY)
    sealer.data(b"lost")
    refused(sealer.data(b"next"), MissingError, "DATA #1 came where #0 was due")


def test_a_forged_sequence_is_a_forgery_and_no_replay() -> None:
    frame = bytearray(Sealer(Role.CLIENT, KEY, sequence=5).data(b"x"))
    frame[21] = 4
    refused(bytes(frame), ForgedError)


def test_an_end_within_a_frame_is_a_truncation() -> None:
    under_test = opener()
    under_test.receive_data(Sealer(Role.CLIENT, KEY).close()[:-1])
    assert under_test.next_frame() is None
    with pytest.raises(SessionTruncatedError, match="within a frame"):
        under_test.receive_eof()


def test_an_end_between_frames_is_none() -> None:
    under_test = opener()
    under_test.receive_data(Sealer(Role.CLIENT, KEY).close())
    assert under_test.next_frame() == Close(0)
    under_test.receive_eof()


@pytest.mark.parametrize("length", [MAX_PAYLOAD + 1, 2**24, 2**32 - 1])
def test_a_length_beyond_the_limit_is_refused_before_the_payload_comes(length: int) -> None:
    head = bytes.fromhex(FIXED) + bytes.fromhex("03000000000000000000a05a")
    refused(head + length.to_bytes(4, "big"), MessageTooLargeError, "65536 are never taken")


def test_a_length_of_eight_bytes_is_too_large_too() -> None:
    head = bytes.fromhex(FIXED) + bytes.fromhex("03000000000000000000a05b")
    refused(head + (2**40).to_bytes(8, "big"), MessageTooLargeError)


@pytest.mark.parametrize(
    "head",
    [b"\x58\x05", b"\x59\x00\x05", b"\x5a\x00\x00\x00\x05", b"\x5b" + bytes(7) + b"\x05"],
    ids=["1 byte", "2 bytes", "4 bytes", "8 bytes"],
)
def test_a_length_in_a_longer_form_is_malformed(head: bytes) -> None:
    refused(hand_made(0x0300, b"hello", head=head), MalformedError, "shortest form")


@pytest.mark.parametrize(
    "first", [0x5F, 0x5C, 0x5D, 0x5E, 0x65, 0x05, 0x85, 0xF6, 0xFF], ids="{:02x}".format
)
def test_a_payload_that_is_no_byte_string_is_malformed(first: int) -> None:
    refused(hand_made(0x0300, b"hello", head=bytes((first,))), MalformedError, "byte string")


def test_every_other_type_or_flag_is_malformed() -> None:
    for kind in range(1 << 16):
        if kind not in SHAPES:
            start = bytes.fromhex(FIXED) + kind.to_bytes(2, "big")
            refused(start, MalformedError, r"^no (frame has type|[A-Z]+ frame has flags) \d+$")


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        (0x0100, 35),
        (0x0100, 37),
        (0x0200, 3),
        (0x0200, 5),
        (0x0301, 0),
        (0x0400, 7),
        (0x0400, 9),
        (0x0500, 1),
        (0x0600, 1),
        (0x0700, 1),
    ],
)
def test_a_payload_of_the_wrong_length_for_its_type_is_malformed(kind: int, length: int) -> None:
    refused(hand_made(kind, bytes(length)), MalformedError, f"carries {length} bytes")


@pytest.mark.parametrize("at", range(12))
def test_every_byte_of_the_fixed_part_counts(at: int) -> None:
    frame = bytearray(hand_made(0x0300, b"hello"))
    frame[at] ^= 1
    refused(bytes(frame), MalformedError, "not a frame of asynctls/1")
    refused(bytes(frame[: at + 1]), MalformedError, "not a frame of asynctls/1")


def test_an_unprotected_header_is_malformed() -> None:
    refused(hand_made(0x0300, b"", map_head=b"\xa1\x04\x00"), MalformedError, "unprotected")


@pytest.mark.parametrize("tag_head", [b"\x57", b"\x59\x00\x20", b"\x78\x20", b"\x5f\x20"])
def test_a_tag_in_another_form_is_malformed(tag_head: bytes) -> None:
    refused(hand_made(0x0300, b"", tag_head=tag_head) + b"..", MalformedError, "32 bytes")


def test_an_error_whose_text_is_not_utf_8_is_malformed() -> None:
    refused(hand_made(0x0600, b"\x00\x01\xff\xfe"), MalformedError, "UTF-8")


def test_after_an_error_an_opener_stays_dead() -> None:
    sealer, under_test = Sealer(Role.CLIENT, KEY), opener()
    good = sealer.data(b"good")
    under_test.receive_data(b"\x00")
    for _ in range(2):
        with pytest.raises(MalformedError):
            under_test.next_frame()
        under_test.receive_data(good)
    assert under_test.buffered_bytes == 0
    with pytest.raises(MalformedError):
        under_test.receive_eof()


def test_frames_before_the_bad_one_are_still_given() -> None:
    under_test = opener()
    under_test.receive_data(Sealer(Role.CLIENT, KEY).data(b"good") + b"bad")
    assert under_test.next_frame() == Data(0, b"good")
    with pytest.raises(MalformedError):
        under_test.next_frame()


# KEY


def waiting_opener(derived: Secret = KEY) -> Opener:
    return Opener(Role.CLIENT, lambda secret: derived)


def test_key_is_verified_with_the_key_that_it_brings() -> None:
    under_test = waiting_opener()
    sealer = Sealer(Role.CLIENT, KEY)
    secret = Secret.random()
    under_test.receive_data(sealer.key(secret, max_message_bytes=5) + sealer.close())
    assert under_test.next_frame() == Key(0, secret, 5)
    assert under_test.next_frame() == Close(1)


def test_key_under_another_binding_is_a_binding_mismatch() -> None:
    under_test = waiting_opener(Secret.random())
    under_test.receive_data(Sealer(Role.CLIENT, KEY).key(Secret.random(), max_message_bytes=5))
    with pytest.raises(BindingMismatchError, match="do not see the same"):
        under_test.next_frame()


@pytest.mark.parametrize("kind", [0x0200, 0x0300, 0x0600])
def test_nothing_comes_before_key(kind: int) -> None:
    under_test = waiting_opener()
    under_test.receive_data(hand_made(kind, bytes(4)))
    with pytest.raises(MalformedError, match="not KEY with sequence 0"):
        under_test.next_frame()


def test_key_has_sequence_0() -> None:
    under_test = waiting_opener()
    under_test.receive_data(hand_made(0x0100, bytes(36), sequence=1)[:40])
    with pytest.raises(MalformedError, match="not KEY with sequence 0"):
        under_test.next_frame()


# Sequence numbers, texts, logs


def test_the_last_sequence_number_is_used_and_none_after_it() -> None:
    sealer = Sealer(Role.CLIENT, KEY, sequence=2**64 - 1)
    last = sealer.data(b"last")
    assert opened(last, sequence=2**64 - 1) == [Data(2**64 - 1, b"last")]
    with pytest.raises(SessionClosedError, match="all sequence numbers"):
        sealer.data(b"one more")
    with pytest.raises(ReplayedError):
        opened(last, last, sequence=2**64 - 1)


@pytest.mark.parametrize(
    ("payload", "more", "receipt_wanted"),
    [(b"", True, False), (b"x", True, True), (bytes(MAX_PAYLOAD + 1), False, False)],
)
def test_nothing_is_sealed_that_no_receiver_takes(
    *, payload: bytes, more: bool, receipt_wanted: bool
) -> None:
    sealer = Sealer(Role.CLIENT, KEY)
    with pytest.raises(ValueError, match="no DATA frame"):
        sealer.data(payload, more=more, receipt_wanted=receipt_wanted)
    assert sealer.sequence == 0


def test_an_error_s_text_is_cut_at_a_character() -> None:
    [frame] = opened(Sealer(Role.CLIENT, KEY).error(10, "é" * 600 + "x"))
    assert frame == Error(0, 10, "é" * (MAX_ERROR_TEXT // 2))


def test_an_error_s_text_cannot_steer_a_terminal() -> None:
    [frame] = opened(Sealer(Role.CLIENT, KEY).error(1, "a\x1b[2Jb\nc\u202e"))
    assert frame == Error(0, 1, "a�[2Jb�c�")


def test_a_frame_in_a_log_shows_no_secret_and_no_payload() -> None:
    lines = [f"{frame} {frame!r}" for _, frame in every_frame()]
    assert not any("sss" in line or "whole" in line for line in lines)
    assert [str(frame) for _, frame in every_frame()] == [
        "KEY #0 (takes 7 bytes)",
        "READY #1 (takes 9 bytes)",
        "DATA #2 (5 bytes)",
        "DATA #3 (5 bytes more)",
        "DATA #4 (0 bytes receipt wanted)",
        "RECEIPT #5 (of #4)",
        "GOAWAY #6",
        "ERROR #7 (7: it ended)",
        "CLOSE #8",
    ]


def test_time_in_hmac_is_counted() -> None:
    sealer, under_test = Sealer(Role.CLIENT, KEY), opener()
    under_test.receive_data(sealer.data(bytes(60_000)))
    under_test.next_frame()
    assert sealer.mac_ns > 0
    assert under_test.mac_ns > 0
    assert (sealer.sequence, under_test.sequence) == (1, 1)


def test_every_frame_type_is_covered_here() -> None:
    assert {frame.type for _, frame in every_frame()} == set(FrameType)
