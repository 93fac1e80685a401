"""Sessions as applications see them, over two channels joined in memory, on both loops."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import pytest
from structlog.testing import capture_logs

from asynctls.admission import LiveAfterExpiry
from asynctls.errors import (
    BindingMismatchError,
    ErrorCode,
    ForgedError,
    HandshakeError,
    MessageTooLargeError,
    ReplayedError,
    SessionClosedError,
    SessionRefusedError,
    SessionTimeoutError,
    SessionTruncatedError,
)
from asynctls.session import FrameType, Limits, Session
from asynctls.session import link as link_module
from asynctls.session import receiving as receiving_module

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.session.conftest import Ends, MakeEnds

T = TypeVar("T")
U = TypeVar("U")


async def both(one: Coroutine[None, None, T], other: Coroutine[None, None, U]) -> tuple[T, U]:
    """Runs both ends to their end; whatever hangs fails."""
    async with asyncio.timeout(20):
        return await asyncio.gather(one, other)


@asynccontextmanager
async def opened(ends: Ends) -> AsyncIterator[tuple[Session, Session]]:
    """Client and server in a session; leaving ends both at once, each as it likes."""
    client, server = ends.client(), ends.server()
    await both(client.__aenter__(), server.__aenter__())
    try:
        yield client, server
    finally:
        await both(client.__aexit__(None, None, None), server.__aexit__(None, None, None))


async def until(happened: Callable[[], bool]) -> None:
    """Lets the other tasks run until it has happened; they need no time, only turns."""
    for _ in range(10_000):
        if happened():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never happened")


async def take_all(session: Session) -> list[bytes]:
    return [message async for message in session]


# Messages


async def test_messages_arrive_whole_and_in_order(ends: Ends) -> None:
    messages = [b"", b"x", bytes(65536), bytes(65537), bytes(200_000), b"last"]
    async with opened(ends) as (client, server):

        async def send() -> None:
            for message in messages:
                await client.send(message)
            await client.finish_sending()

        _, received = await both(send(), take_all(server))
        assert received == messages


async def test_a_receipt_says_that_the_application_took_the_message(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        sending = asyncio.create_task(server.send(b"the OTP", receipt=True))
        await until(lambda: len(client._receiving._inbox) == 1)
        assert not sending.done()
        assert client.sent_bytes[FrameType.RECEIPT] == 0
        assert await client.receive() == b"the OTP"
        await sending
        assert client.sent_bytes[FrameType.RECEIPT] > 0


async def test_receipts_cross(ends: Ends) -> None:
    async def talk(session: Session) -> list[bytes]:
        async with asyncio.TaskGroup() as tasks:
            for n in range(50):
                tasks.create_task(session.send(b"%d" % n, receipt=True))
            return [await session.receive() for _ in range(50)]

    async with opened(ends) as (client, server):
        ours, theirs = await both(talk(client), talk(server))
        assert sorted(ours) == sorted(theirs) == sorted(b"%d" % n for n in range(50))


async def test_large_messages_sent_at_once_do_not_mix(ends: Ends) -> None:
    messages = [bytes((n,)) * 300_000 for n in range(8)]

    async def talk(session: Session) -> list[bytes]:
        async with asyncio.TaskGroup() as tasks:
            for message in messages:
                tasks.create_task(session.send(message))
            return [await session.receive() for _ in messages]

    async with opened(ends) as (client, server):
        ours, theirs = await both(talk(client), talk(server))
        assert sorted(ours) == sorted(theirs) == messages


async def test_more_receipts_than_may_be_awaited_at_once_all_come(ends: Ends) -> None:
    count = 1200

    async def send(session: Session) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(session.send(b"x", receipt=True))

    async def take(session: Session) -> None:
        for _ in range(count):
            await session.receive()

    async with opened(ends) as (client, server):
        await both(send(client), take(server))


async def test_a_message_that_the_peer_does_not_take_is_not_sent(make_ends: MakeEnds) -> None:
    ends = make_ends(limits=Limits(max_message_bytes=100))
    async with opened(ends) as (client, server):
        with pytest.raises(MessageTooLargeError, match="the peer takes 100 at most"):
            await client.send(bytes(101))
        await client.send(bytes(100))
        assert await server.receive() == bytes(100)


async def test_what_was_sent_is_counted_by_type(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        await client.send(b"x" * 10)
        await server.receive()
    assert client.sent_bytes[FrameType.DATA] == 10 + 58 + 29
    assert client.sent_bytes[FrameType.KEY] == 36 + 59 + 29
    assert server.sent_bytes[FrameType.READY] == 4 + 58 + 29
    assert server.sent_bytes[FrameType.DATA] == 0
    assert client.mac_ns > 0
    assert "client" in repr(server)
    assert server.peer.name == "client"


async def test_messages_of_one_turn_go_out_together(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        before = len(ends.client_channel.written)
        for n in range(100):
            await client.send(b"%02d" % n)
        assert [await server.receive() for _ in range(100)] == [b"%02d" % n for n in range(100)]
        assert len(ends.client_channel.written) == before + 1
        assert client.sent_bytes[FrameType.DATA] == 100 * (2 + 58) + 29


async def test_a_sender_of_tiny_messages_leaves_others_their_turn(ends: Ends) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with opened(ends) as (client, server):
        receiving = asyncio.create_task(take_all(server))
        counting = asyncio.create_task(count())
        for _ in range(2000):
            await client.send(b"")
        assert turns >= 2
        counting.cancel()
        await client.finish_sending()
        assert len(await receiving) == 2000


async def test_what_could_not_be_sent_any_more_is_told_to_whoever_receives(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> int:
        raise OSError("gone")

    async with opened(ends) as (client, _):
        monkeypatch.setattr(ends.client_channel, "write", fail)
        await client.send(b"x")
        with pytest.raises(SessionTruncatedError):
            await client.receive()


async def test_receivers_that_gave_up_do_not_pile_up(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        for _ in range(20):
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await server.receive()
        assert len(server._receiving._inbox._waiting) <= 1
        await client.send(b"x")
        assert await server.receive() == b"x"


# Backpressure


async def test_an_application_that_does_not_receive_stops_its_peer(make_ends: MakeEnds) -> None:
    ends = make_ends(limits=Limits(queue_bytes=50_000))
    sent = 0

    async def flood(session: Session) -> None:
        nonlocal sent
        for _ in range(100):
            await session.send(bytes(10_000))
            sent += 1

    async with opened(ends) as (client, server):
        flooding = asyncio.create_task(flood(client))
        await until(lambda: len(ends.server_channel.incoming) > ends.server_channel.HIGH_WATER)
        quiet = 0
        while quiet < 50:
            before = sent
            await asyncio.sleep(0)
            quiet = quiet + 1 if sent == before else 0
        assert sent < 30
        for _ in range(100):
            await server.receive()
        await flooding


async def test_a_flood_of_tiny_messages_leaves_others_their_turn(make_ends: MakeEnds) -> None:
    messages = 640
    async with opened(make_ends(limits=Limits(queue_messages=messages))) as (client, server):
        for _ in range(messages):
            await client.send(b"x")
        taken = [server.tally.messages_received]
        while taken[-1] < messages:
            await asyncio.sleep(0)
            taken.append(server.tally.messages_received)
        assert max(now - before for before, now in pairwise(taken)) <= 64


async def test_a_peer_that_reads_no_receipts_is_not_read_either(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving_module, "_RECEIPTS_UNREAD", 10)
    taken = 0

    async def take(session: Session) -> None:
        nonlocal taken
        async for _ in session:
            taken += 1

    async with opened(ends) as (client, server), asyncio.TaskGroup() as tasks:
        tasks.create_task(take(server))
        with monkeypatch.context() as deaf:
            deaf.setattr(ends.client_channel, "read_now", lambda _: (None, False))
            deaf.setattr(ends.server_channel, "HIGH_WATER", 100)
            for _ in range(2):
                for _ in range(12):
                    tasks.create_task(client.send(b"x", receipt=True))
                await until(lambda: taken == 12)
                # Many turns more than it takes to read the others.
                for _ in range(200):
                    await asyncio.sleep(0)
            assert taken == 12
        ends.client_channel._notify()
        await until(lambda: taken == 24)
        await client.finish_sending()


async def test_waiting_for_a_receipt_goes_on_reading(make_ends: MakeEnds) -> None:
    ends = make_ends(limits=Limits(queue_messages=2))

    async def server_app(server: Session) -> None:
        for n in range(6):
            await server.send(b"%d" % n)
        assert await server.receive() == b"answer me"

    async with opened(ends) as (client, server):
        # Six messages stand before the receipt, and the client takes none of them until it has it.
        await both(client.send(b"answer me", receipt=True), server_app(server))
        assert [await client.receive() for _ in range(6)] == [b"%d" % n for n in range(6)]


async def test_that_too_has_a_bound_and_then_the_receipt_times_out(make_ends: MakeEnds) -> None:
    ends = make_ends(limits=Limits(queue_messages=2, receipt_timeout_s=0.2, close_timeout_s=0.2))

    async def server_app(server: Session) -> None:
        for n in range(20):
            await server.send(b"%d" % n)
        await server.receive()

    async with opened(ends) as (client, server):
        serving = asyncio.create_task(server_app(server))
        with pytest.raises(SessionTimeoutError, match="no receipt came within"):
            await client.send(b"answer me", receipt=True)
        assert ends.client_channel.incoming or client._protocol._opener.buffered_bytes
        await serving


# Ends


async def test_a_direction_can_end_while_the_other_goes_on(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        await client.send(b"a question")
        await client.finish_sending()
        assert await take_all(server) == [b"a question"]
        with pytest.raises(SessionClosedError):
            await client.send(b"too late")
        await server.send(b"an answer", receipt=False)
        assert await client.receive() == b"an answer"
        await both(server.send(b"and another", receipt=True), client.receive())
        await server.finish_sending()
        assert await take_all(client) == []
        with pytest.raises(SessionClosedError, match="ended its direction"):
            await client.receive()


async def test_receipts_still_come_after_both_closes(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        sending = asyncio.create_task(client.send(b"last words", receipt=True))
        await asyncio.sleep(0)
        await client.finish_sending()
        await server.finish_sending()
        assert await server.receive() == b"last words"
        await sending


async def test_both_ends_may_close_at_once_and_nothing_is_left(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        pass
    assert client.end_reason == server.end_reason == "both ends closed it"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_close_can_be_called_twice_and_ends_receiving(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        await both(client.close(), server.close())
        await client.close()
        with pytest.raises(SessionClosedError):
            await client.send(b"x")
        with pytest.raises(SessionClosedError):
            await client.receive()


async def test_a_peer_that_does_not_close_is_left_after_a_time(make_ends: MakeEnds) -> None:
    ends = make_ends(limits=Limits(close_timeout_s=0.1))
    client, server = ends.client(), ends.server()
    await both(client.__aenter__(), server.__aenter__())
    await client.__aexit__(None, None, None)
    with pytest.raises(SessionClosedError):
        await server.receive()
    with pytest.raises(
        SessionRefusedError, match=r"time out: the peer did not CLOSE within 0\.1 s"
    ):
        await server.send(b"anybody there?")
    await server.__aexit__(None, None, None)


async def test_an_application_s_failure_reaches_the_peer_without_its_words(ends: Ends) -> None:
    async def fail() -> None:
        async with ends.server() as server:
            assert await server.receive() == b"hello"
            raise LookupError("the password is swordfish")

    async def client_app() -> None:
        async with ends.client() as client:
            await client.send(b"hello")
            with pytest.raises(SessionRefusedError) as caught:
                await client.receive()
            assert caught.value.error_code == ErrorCode.INTERNAL
            assert "swordfish" not in str(caught.value)

    serving = asyncio.create_task(fail())
    await client_app()
    with pytest.raises(LookupError):
        await serving


async def test_an_error_of_our_own_in_reading_ends_the_session_and_comes_out(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> bytes:
        raise LookupError("a bug, and the password is swordfish")

    async def client_app() -> None:
        async with ends.client() as client:
            monkeypatch.setattr(ends.client_channel, "read_now", fail)
            with pytest.raises(SessionClosedError, match="internal error"):
                await take_all(client)
            assert ends.client_channel.closed

    async def server_app() -> None:
        async with ends.server() as server:
            await server.send(b"what wakes the reader")
            with pytest.raises(SessionRefusedError, match="internal: internal error"):
                await server.receive()

    serving = asyncio.create_task(server_app())
    with pytest.raises(LookupError, match="a bug"):
        await client_app()
    await serving


async def test_an_application_that_is_cancelled_leaves_nothing(ends: Ends) -> None:
    async def wait() -> None:
        async with ends.server() as server:
            await server.receive()

    serving = asyncio.create_task(wait())
    async with ends.client() as client:
        serving.cancel()
        with pytest.raises(SessionRefusedError, match="internal"):
            await client.receive()
        with pytest.raises(asyncio.CancelledError):
            await serving
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_ended_session_is_no_work_for_the_garbage_collector(ends: Ends) -> None:
    gc.collect()
    gc.disable()
    try:
        async with opened(ends) as (client, server):
            await both(client.send(b"x"), server.receive())
            gone = weakref.ref(client), weakref.ref(server)
        del client, server
        # The contextmanager's own frame lets go of them with the loop's next turn.
        await until(lambda: [each() for each in gone] == [None, None])
    finally:
        gc.enable()


async def test_a_session_ended_for_a_reason_tells_it_to_both(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        receiving = asyncio.create_task(server.receive())
        await asyncio.sleep(0)
        await server.end(ErrorCode.CERTIFICATE_REVOKED, "client was revoked")
        with pytest.raises(SessionClosedError, match="client was revoked"):
            await receiving
        with pytest.raises(SessionRefusedError, match="certificate revoked: client was") as caught:
            await client.receive()
        assert caught.value.error_code == ErrorCode.CERTIFICATE_REVOKED
        with pytest.raises(SessionClosedError):
            await anext(server)


async def test_a_server_that_drains_says_so(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        server.goaway()
        await server.send(b"one more")
        assert await client.receive() == b"one more"
        assert client.going_away
        assert not server.going_away


async def test_the_word_that_a_server_drains_waits_for_nobody(make_ends: MakeEnds) -> None:
    ends = make_ends(limits=Limits(close_timeout_s=0.1))
    async with opened(ends) as (_, server):
        sending = asyncio.create_task(server.send(bytes(8 * 1024 * 1024)))
        await until(lambda: len(ends.client_channel.incoming) > ends.client_channel.HIGH_WATER)
        server.goaway()
        assert server.sent_bytes[FrameType.GOAWAY]
        await server.end(ErrorCode.INTERNAL, "enough")
        server.goaway()
        with pytest.raises(SessionClosedError):
            await sending


async def test_an_end_that_only_sends_minds_its_records_too(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "MAX_RECORDS", 10)
    async with opened(ends) as (client, server):
        for _ in range(12):
            await server.send(b"x")
            await client.receive()
        await until(lambda: client.going_away)
        assert server.sent_bytes[FrameType.GOAWAY] == 58 + 29


async def test_goaway_comes_before_the_records_of_a_key_are_used_up(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "MAX_RECORDS", 10)
    async with opened(ends) as (client, server):
        for _ in range(12):
            await client.send(b"x")
            await server.receive()
        await server.send(b"done")
        await client.receive()
        assert client.going_away
        assert server.sent_bytes[FrameType.GOAWAY] == 58 + 29


async def test_each_of_the_records_that_are_read_at_once_counts(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "MAX_RECORDS", 10)
    async with opened(ends) as (client, server):
        await asyncio.gather(client.send(bytes(9 << 14)), server.receive())
        await server.send(b"done")
        await client.receive()
        assert client.going_away


# Certificates end


@pytest.mark.parametrize("whose", ["client", "server"])
async def test_a_session_ends_when_a_certificate_does(
    make_ends: MakeEnds, certificate_ending: Callable[..., bytes], whose: str
) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    certificate = certificate_ending(whose, not_after=soon)
    if whose == "client":
        ends = make_ends(client_certificate=certificate)
    else:
        ends = make_ends(server_certificate=certificate)
    words = f"the certificate of {whose} ended at {soon:%Y-%m-%dT%H:%M:%SZ}"
    async with opened(ends) as (client, server):
        outcomes = await asyncio.gather(client.receive(), server.receive(), return_exceptions=True)
    assert datetime.now(UTC) >= soon
    for outcome in outcomes:
        assert isinstance(outcome, SessionRefusedError | SessionClosedError)
        assert words in str(outcome)
        if isinstance(outcome, SessionRefusedError):
            assert outcome.error_code == ErrorCode.CERTIFICATE_EXPIRED


async def test_before_that_both_know_and_the_client_can_finish(
    make_ends: MakeEnds, certificate_ending: Callable[..., bytes]
) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    ends = make_ends(client_certificate=certificate_ending("client", not_after=soon))
    async with opened(ends) as (client, server):
        await both(client.until_going_away(), server.until_going_away())
        assert datetime.now(UTC) < soon
        await until(lambda: bool(server.sent_bytes[FrameType.GOAWAY]))
        await client.send(b"the last word")
        assert await server.receive() == b"the last word"
    assert (client.failure, server.failure) == (None, None)


async def test_a_session_may_outlive_its_certificates_and_the_log_says_so(
    make_ends: MakeEnds, certificate_ending: Callable[..., bytes]
) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    ends = make_ends(
        client_certificate=certificate_ending("client", not_after=soon),
        live_after_expiry=LiveAfterExpiry.KEEP,
    )
    with capture_logs() as logs:
        async with opened(ends) as (client, server):
            while sum(each["event"] == "certificate outlived" for each in logs) < 2:  # noqa: ASYNC110 - capture_logs has no event to wait for
                await asyncio.sleep(0.05)
            await client.send(b"still here")
            assert await server.receive() == b"still here"
            assert not client.going_away
    assert datetime.now(UTC) >= soon
    assert "live_after_expiry" in str(logs[-1]["then"])
    assert (client.failure, server.failure) == (None, None)


# What an attacker does


async def test_a_forged_frame_ends_the_session_and_both_know(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        ends.client_channel.change = lambda written: written.replace(b"100", b"999")
        await client.send(b"before")
        await client.send(b"pay 100")
        assert await server.receive() == b"before"
        with pytest.raises(ForgedError):
            await server.receive()
        with pytest.raises(ForgedError):
            await server.send(b"x")
        with pytest.raises(SessionRefusedError, match="forged") as caught:
            await client.receive()
        assert caught.value.error_code == ErrorCode.FORGED


async def test_a_replayed_frame_ends_the_session(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        ends.client_channel.change = lambda written: written * 2
        await client.send(b"pay 100")
        assert await server.receive() == b"pay 100"
        with pytest.raises(ReplayedError):
            await server.receive()


async def test_a_connection_that_is_cut_is_a_truncation(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        await client.send(b"first")
        await until(lambda: bool(client.sent_bytes[FrameType.DATA]))
        ends.client_channel.abort()
        assert await server.receive() == b"first"
        with pytest.raises(SessionTruncatedError, match="without CLOSE"):
            await server.receive()
        with pytest.raises(SessionTruncatedError):
            await anext(server)


async def test_a_close_notify_before_close_is_a_truncation(ends: Ends) -> None:
    async with opened(ends) as (_, server):
        await ends.client_channel.close()
        with pytest.raises(SessionTruncatedError):
            await server.receive()


async def test_an_end_before_a_receipt_that_is_owed_is_a_truncation_too(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        sending = asyncio.create_task(client.send(b"last words", receipt=True))
        await asyncio.sleep(0)
        await client.finish_sending()
        await server.finish_sending()
        await until(lambda: server._receiving.peer_closed)
        ends.client_channel.abort()
        await server.wait_closed()
        assert isinstance(server.failure, SessionTruncatedError)
        assert await take_all(server) == [b"last words"]
        with pytest.raises(SessionTruncatedError):
            await sending


async def test_a_receipt_that_never_comes_since_the_peer_left_is_no_receipt(ends: Ends) -> None:
    async with opened(ends) as (client, _):
        sending = asyncio.create_task(client.send(b"x", receipt=True))
        await asyncio.sleep(0)
        ends.server_channel.abort()
        with pytest.raises(SessionTruncatedError):
            await sending


async def test_a_proxy_with_other_certificates_is_found_out_by_both(ends: Ends) -> None:
    ends.server_channel.tls_unique = b"another_one_"

    async def client_app() -> None:
        with pytest.raises(BindingMismatchError, match="neither READY nor ERROR"):
            async with ends.client():
                pass

    async def server_app() -> None:
        with pytest.raises(BindingMismatchError, match="somebody may stand in between"):
            async with ends.server():
                pass

    with capture_logs() as logs:
        await both(client_app(), server_app())
    warned = [entry["event"] for entry in logs if entry["log_level"] == "warning"]
    assert set(warned) == {"binding mismatch"}
    assert not ends.server_channel.written
    assert ends.client_channel.closed
    assert ends.server_channel.closed


# Opening


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("alpn", "http/1.1", "no session without ALPN 'asynctls/1'"),
        ("alpn", None, "agreed on None"),
        ("extended_master_secret", False, "extended master secret"),
        ("tls_unique", None, "tls-unique"),
        ("peer_certificate", b"another", "not the one that was admitted"),
    ],
)
async def test_no_session_on_a_channel_that_cannot_carry_one(
    ends: Ends, attribute: str, value: object, words: str
) -> None:
    session = ends.client()
    setattr(ends.client_channel, attribute, value)
    with pytest.raises(HandshakeError, match=words):
        async with session:
            pass
    assert not ends.client_channel.written
    assert ends.client_channel.closed


@pytest.mark.parametrize("role", ["client", "server"])
async def test_opening_is_bounded(make_ends: MakeEnds, role: str) -> None:
    ends = make_ends(limits=Limits(handshake_timeout_s=0.05))
    session = ends.client() if role == "client" else ends.server()
    with pytest.raises(SessionTimeoutError, match=r"no (KEY|READY or ERROR) came within 0.05 s"):
        async with session:
            pass
    assert (ends.client_channel if role == "client" else ends.server_channel).closed


async def test_opening_can_be_cancelled(ends: Ends) -> None:
    opening = asyncio.create_task(ends.server().__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert ends.server_channel.closed


async def test_a_client_that_leaves_before_key_is_a_truncation(ends: Ends) -> None:
    await ends.client_channel.close()
    with pytest.raises(SessionTruncatedError, match="before KEY"):
        async with ends.server():
            pass


async def test_a_session_is_not_used_before_it_is_opened(ends: Ends) -> None:
    with pytest.raises(SessionClosedError):
        await ends.client().send(b"x")


def test_a_message_limit_fits_its_field() -> None:
    with pytest.raises(ValueError, match="must fit a u32"):
        Limits(max_message_bytes=1 << 32)


# Cancellation


async def test_a_cancelled_receive_loses_nothing(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        taken = []
        for n in range(50):
            receiving = asyncio.create_task(server.receive())
            for _ in range(n % 5):
                await asyncio.sleep(0)
            await client.send(b"%d" % n)
            for _ in range(n % 7):
                await asyncio.sleep(0)
            receiving.cancel()
            with suppress(asyncio.CancelledError):
                taken.append(await receiving)
        await client.finish_sending()
        assert taken + await take_all(server) == [b"%d" % n for n in range(50)]


async def test_a_cancelled_send_still_sends_the_whole_message(ends: Ends) -> None:
    message = bytes(1_000_000)
    async with opened(ends) as (client, server):
        sending = asyncio.create_task(client.send(message))
        waiting = asyncio.create_task(client.send(b"never begun"))
        await until(lambda: client.sent_bytes[FrameType.DATA] > 0)
        waiting.cancel()
        sending.cancel()
        for cancelled in (sending, waiting):
            with pytest.raises(asyncio.CancelledError):
                await cancelled
        after = asyncio.create_task(client.send(b"after"))
        assert await server.receive() == message
        assert await server.receive() == b"after"
        await after


async def test_a_cancelled_wait_for_a_receipt_leaves_the_session_whole(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        sending = asyncio.create_task(client.send(b"x", receipt=True))
        await until(lambda: len(client._sending._deliveries) == 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await server.receive() == b"x"
        await both(client.send(b"y", receipt=True), server.receive())


async def test_several_receivers_get_each_message_once(ends: Ends) -> None:
    async with opened(ends) as (client, server):
        receiving = [asyncio.create_task(server.receive()) for _ in range(10)]
        for n in range(10):
            await client.send(b"%d" % n)
        received = await asyncio.gather(*receiving)
        assert sorted(received) == [b"%d" % n for n in range(10)]
