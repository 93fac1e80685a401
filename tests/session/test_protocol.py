"""One end of a session as a pure object: what may stand where, and what is owed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynctls.errors import (
    BindingMismatchError,
    ErrorCode,
    ForgedError,
    MalformedError,
    MessageTooLargeError,
    SessionClosedError,
    SessionError,
    SessionRefusedError,
    SessionTruncatedError,
)
from asynctls.mac import Secret
from asynctls.session.frames import Data
from asynctls.session.keys import derive
from asynctls.session.protocol import Delivered, Ended, Event, GoesAway, Opened, Protocol
from asynctls.session.sealer import Sealer
from asynctls.session.states import TABLE, FrameType, Role, State, Step
from asynctls.session.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

BINDING = bytes(32)
SECRET = Secret(b"s" * 32)
KEYS = derive(SECRET, BINDING)
SEALING = {
    Step.KEY: lambda sealer: sealer.key(SECRET, max_message_bytes=100),
    Step.READY: lambda sealer: sealer.ready(max_message_bytes=100),
    Step.PIECE: lambda sealer: sealer.data(b"piece", more=True),
    Step.MESSAGE: lambda sealer: sealer.data(b"message"),
    Step.RECEIPT: lambda sealer: sealer.receipt(1),
    Step.CLOSE: lambda sealer: sealer.close(),
    Step.ERROR: lambda sealer: sealer.error(10, "failed"),
    Step.GOAWAY: lambda sealer: sealer.goaway(),
}
WAY_TO: dict[Role, dict[State, list[Step]]] = {
    Role.CLIENT: {
        State.START: [],
        State.OPEN: [Step.KEY],
        State.WITHIN: [Step.KEY, Step.PIECE],
        State.CLOSED: [Step.KEY, Step.CLOSE],
        State.ENDED: [Step.KEY, Step.ERROR],
    },
    Role.SERVER: {
        State.START: [],
        State.OPEN: [Step.READY],
        State.WITHIN: [Step.READY, Step.PIECE],
        State.CLOSED: [Step.READY, Step.CLOSE],
        State.ENDED: [Step.ERROR],
    },
}


def end(role: Role, *, most: int = 1000) -> Protocol:
    secret = SECRET if role is Role.CLIENT else None
    return Protocol(role, BINDING, max_message_bytes=most, secret=secret)


def sealer_of(role: Role) -> Sealer:
    return Sealer(role, KEYS.client if role is Role.CLIENT else KEYS.server)


def all_events(receiver: Protocol) -> list[Event]:
    return list(iter(receiver.next_event, None))


def move(source: Protocol, target: Protocol) -> list[Event]:
    for _, frame in source.frames_to_send():
        target.receive_data(frame)
    return all_events(target)


def pair(*, most: int = 1000) -> tuple[Protocol, Protocol]:
    client, server = end(Role.CLIENT, most=most), end(Role.SERVER, most=most)
    assert move(client, server) == [Opened()]
    assert move(server, client) == [Opened()]
    assert client.opened
    assert server.opened
    return client, server


def send(source: Protocol, message: bytes, *, receipt_wanted: bool = False) -> int:
    *_, sequence = source.send_message(message, receipt_wanted=receipt_wanted)
    return sequence


@pytest.mark.parametrize("sender", Role)
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_a_frame_is_taken_where_the_table_has_it_and_nowhere_else(
    sender: Role, state: State, step: Step
) -> None:
    receiver, sealer = end(sender.other), sealer_of(sender)
    events: list[Event] = []
    try:
        for before in WAY_TO[sender][state]:
            receiver.receive_data(SEALING[before](sealer))
            events += iter(receiver.next_event, None)
        if state is not State.START:
            send(receiver, b"for the receipt", receipt_wanted=True)
    except SessionRefusedError:
        assert state is State.ENDED
        with pytest.raises(SessionRefusedError):
            receiver.next_event()
        return
    assert receiver.receiving is state
    receiver.receive_data(SEALING[step](sealer))
    allowed = TABLE[sender][state].get(step)
    if allowed is None:
        with pytest.raises(MalformedError):
            receiver.next_event()
    elif step is Step.ERROR:
        with pytest.raises(SessionRefusedError):
            receiver.next_event()
    else:
        receiver.next_event()
        assert receiver.receiving is allowed


@given(messages=st.lists(st.binary(max_size=300), max_size=10), receipt_wanted=st.booleans())
def test_messages_arrive_as_they_were_sent(*, messages: list[bytes], receipt_wanted: bool) -> None:
    client, server = pair()
    sequences = [send(client, message, receipt_wanted=receipt_wanted) for message in messages]
    assert move(client, server) == [
        Data(sequence, message, receipt_wanted=receipt_wanted)
        for message, sequence in zip(messages, sequences, strict=True)
    ]


@pytest.mark.parametrize("length", [65536, 65537, 131072, 131073, 200_000])
def test_a_large_message_goes_in_pieces_and_comes_whole(length: int) -> None:
    client, server = pair(most=1 << 20)
    pieces = -(-length // 65536)
    assert send(client, bytes(length), receipt_wanted=True) == pieces
    assert len(client._to_send) == pieces
    assert move(client, server) == [Data(pieces, bytes(length), receipt_wanted=True)]


def test_a_message_beyond_what_the_peer_takes_is_not_sealed() -> None:
    client, _ = pair(most=10)
    with pytest.raises(MessageTooLargeError, match="the peer takes 10 at most"):
        send(client, bytes(11))
    assert not client.frames_to_send()
    assert send(client, bytes(10)) == 1


def test_a_message_beyond_what_we_take_is_refused_before_it_is_kept() -> None:
    server = end(Role.SERVER, most=100)
    sealer = sealer_of(Role.CLIENT)
    server.receive_data(sealer.key(SECRET, max_message_bytes=100))
    server.receive_data(sealer.data(bytes(60), more=True) + sealer.data(bytes(41), more=True))
    assert server.next_event() == Opened()
    with pytest.raises(MessageTooLargeError, match="100 are taken at most"):
        server.next_event()
    assert not server._message
    [(_, _), (kind, _)] = server.frames_to_send()
    assert kind is FrameType.ERROR


def test_receipts_are_given_once_and_only_where_they_were_asked_for() -> None:
    client, server = pair()
    asked = send(client, b"x", receipt_wanted=True)
    silent = send(client, b"y")
    move(client, server)
    server.send_receipt(asked)
    with pytest.raises(KeyError):
        server.send_receipt(asked)
    with pytest.raises(KeyError):
        server.send_receipt(silent)
    assert asked in client.receipts_awaited
    assert move(server, client) == [Delivered(asked)]
    assert not client.receipts_awaited


@pytest.mark.parametrize("of", [0, 1, 2, 99])
def test_a_receipt_that_nobody_asked_for_is_malformed(of: int) -> None:
    client, _ = pair()
    send(client, b"x")
    sealer = Sealer(Role.SERVER, KEYS.server, sequence=1)
    client.receive_data(sealer.receipt(of))
    with pytest.raises(MalformedError, match="no receipt is due"):
        client.next_event()


def test_goaway_may_stand_between_the_pieces_of_a_message() -> None:
    client, server = pair(most=1 << 20)
    pieces = server.send_message(bytes(70_000), receipt_wanted=False)
    next(pieces)
    server.send_goaway()
    list(pieces)
    assert move(server, client) == [GoesAway(), Data(3, bytes(70_000))]


def test_goaway_after_close_is_left_unsaid() -> None:
    client, server = pair()
    server.send_close()
    server.send_goaway()
    assert move(server, client) == [Ended()]


def test_the_session_is_over_when_both_closes_and_all_receipts_are_through() -> None:
    client, server = pair()
    asked = send(client, b"last", receipt_wanted=True)
    client.send_close()
    server.send_close()
    move(client, server)
    move(server, client)
    assert not client.over
    assert not server.over
    server.send_receipt(asked)
    move(server, client)
    assert client.over
    assert server.over
    for ended in (client, server):
        ended.receive_eof()
        assert ended.failure is None


def test_a_receipt_is_not_owed_by_an_application_that_takes_no_more() -> None:
    client, server = pair()
    send(client, b"x", receipt_wanted=True)
    client.send_close()
    move(client, server)
    server.send_close()
    assert not server.over
    server.owe_nothing()
    assert server.over
    move(server, client)
    with pytest.raises(SessionTruncatedError, match="may not have been taken"):
        client.receive_eof()


def test_nor_is_it_for_what_comes_later() -> None:
    client, server = pair()
    server.owe_nothing()
    server.send_close()
    send(client, b"x", receipt_wanted=True)
    client.send_close()
    move(client, server)
    assert server.over


@pytest.mark.parametrize(
    ("pieces", "words"), [([], "without CLOSE"), ([b"piece"], "within a message")]
)
def test_an_end_before_close_is_a_truncation(pieces: list[bytes], words: str) -> None:
    _, server = pair()
    sealer = Sealer(Role.CLIENT, KEYS.client, sequence=1)
    for piece in pieces:
        server.receive_data(sealer.data(piece, more=True))
    server.next_event()
    for _ in range(2):
        with pytest.raises(SessionTruncatedError, match=words):
            server.receive_eof()
    assert not server.frames_to_send()


def test_a_server_that_leaves_without_an_answer_may_be_somebody_else() -> None:
    client = end(Role.CLIENT)
    with pytest.raises(BindingMismatchError, match="neither READY nor ERROR"):
        client.receive_eof()


def test_a_client_that_leaves_before_key_is_a_truncation() -> None:
    with pytest.raises(SessionTruncatedError, match="before KEY"):
        end(Role.SERVER).receive_eof()


def test_a_key_that_fails_gets_no_answer() -> None:
    server = Protocol(Role.SERVER, b"another binding", max_message_bytes=10)
    with pytest.raises(BindingMismatchError):
        move(end(Role.CLIENT), server)
    assert not server.frames_to_send()
    server.end(ErrorCode.TIME_OUT, "late")
    assert isinstance(server.failure, BindingMismatchError)


def test_a_ready_that_the_key_did_not_make_is_a_forgery_and_is_told() -> None:
    client = end(Role.CLIENT)
    client.receive_data(Sealer(Role.SERVER, Secret.random()).ready(max_message_bytes=1))
    with pytest.raises(ForgedError):
        client.next_event()
    assert [kind for kind, _ in client.frames_to_send()] == [FrameType.KEY, FrameType.ERROR]


def test_a_server_may_answer_key_by_an_error() -> None:
    client = end(Role.CLIENT)
    client.receive_data(sealer_of(Role.SERVER).error(9, "our CRL is old"))
    with pytest.raises(SessionRefusedError, match="CRL not current: our CRL is old") as caught:
        client.next_event()
    assert caught.value.error_code == ErrorCode.CRL_NOT_CURRENT


def test_an_error_of_a_later_version_is_shown_by_its_number() -> None:
    client = end(Role.CLIENT)
    client.receive_data(sealer_of(Role.SERVER).error(99, "who knows"))
    with pytest.raises(SessionRefusedError, match="error 99: who knows"):
        client.next_event()


def test_an_error_is_never_answered_and_ends_everything() -> None:
    client, server = pair()
    server.end(ErrorCode.INTERNAL, "failed")
    with pytest.raises(SessionRefusedError):
        move(server, client)
    assert not client.frames_to_send()
    for call in (client.send_close, client.send_goaway, client.receive_eof, client.next_event):
        with pytest.raises(SessionRefusedError):
            call()
    with pytest.raises(SessionRefusedError):
        send(client, b"x")
    with pytest.raises(SessionClosedError):
        send(server, b"x")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda frame: frame.replace(b"100", b"999"), ErrorCode.FORGED),
        (lambda frame: b"\x00" + frame, ErrorCode.MALFORMED),
        (lambda frame: frame * 2, ErrorCode.REPLAYED),
        (lambda frame: frame[len(frame) // 2 :], ErrorCode.MISSING),
    ],
)
def test_the_peer_is_told_what_was_wrong(spoil: Callable[[bytes], bytes], code: ErrorCode) -> None:
    client, server = pair()
    if code is ErrorCode.MISSING:
        send(client, b"pay 100")
    send(client, b"pay 100")
    server.receive_data(spoil(b"".join(frame for _, frame in client.frames_to_send())))
    with pytest.raises(SessionError) as ours:
        all_events(server)
    assert ours.value.code == code
    with pytest.raises(SessionRefusedError) as theirs:
        move(server, client)
    assert theirs.value.error_code == code


def test_a_client_says_nothing_of_its_own_before_ready() -> None:
    client = end(Role.CLIENT)
    with pytest.raises(SessionClosedError):
        send(client, b"x")
    with pytest.raises(SessionClosedError):
        client.send_close()


def test_only_a_server_goes_away() -> None:
    client, _ = pair()
    with pytest.raises(SessionClosedError, match="GOAWAY cannot be sent"):
        client.send_goaway()


def test_events_in_a_log_show_no_message() -> None:
    assert repr(Data(3, b"the OTP")) == "<DATA #3 (7 bytes)>"


def test_a_secret_is_random_unless_given() -> None:
    first = Protocol(Role.CLIENT, BINDING, max_message_bytes=1).frames_to_send()
    second = Protocol(Role.CLIENT, BINDING, max_message_bytes=1).frames_to_send()
    assert first != second
    assert pair()[0].mac_ns > 0


def test_what_went_through_is_counted_in_whole_messages_and_receipts() -> None:
    client, server = pair(most=200_000)
    sequence = send(client, bytes(150_000), receipt_wanted=True)
    send(client, b"")
    move(client, server)
    server.send_receipt(sequence)
    move(server, client)
    assert client.tally == Tally(messages_sent=2, bytes_sent=150_000, receipts_received=1)
    assert server.tally == Tally(messages_received=2, bytes_received=150_000, receipts_sent=1)
