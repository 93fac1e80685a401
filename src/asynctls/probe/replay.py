"""Replay: what was said once is said again, out of its order, or cut short.

From the network that is a recording of TLS records. Whoever got hold of frames in the clear (in a
log, say, or out of a process's memory) has a session's; and a peer has the keys of its own session,
so that it could say a genuine frame twice. `towards_us` is about the server's frames, and `tickets`
has the attacks that resume an old session.

No app of the server's is told anything by these: the frames that are sent are pieces of a message
that never ends, unless the server takes what it should refuse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from asynctls.admission import Peer
from asynctls.errors import SessionClosedError, SessionError
from asynctls.probe import tickets, towards_us
from asynctls.probe.answers import Heard, explained, hear
from asynctls.probe.attack import PATIENCE_S, Attack, Needs, Target, Verdict
from asynctls.probe.clients import honest, speaking, unless_nobody_is_served
from asynctls.probe.hellos import Hello
from asynctls.probe.offers import alert_words, offer
from asynctls.probe.relays import forwarding, play
from asynctls.session import Limits, Session

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from asynctls.probe.insider import Insider
    from asynctls.probe.relays import Alter, Forwarding, Played

__all__ = ["ATTACKS"]

_GROUP = "replay"
_PIECE = b"a piece of a message that asynctls probe never ends"
_UNPROMPTED_S = 1.0
"""How long a server gets to say what it says by itself."""

_CHANGE_CIPHER_SPEC, _ALERT, _APPLICATION_DATA = 20, 21, 23
_PLAIN_ALERT_BYTES = 7

_LIMITS = Limits(handshake_timeout_s=PATIENCE_S, close_timeout_s=PATIENCE_S)

_Result = tuple[Verdict, str]


# From the network


async def _hello_again(target: Target) -> _Result:
    recorded = await _recorded(target)
    answer = await offer(target.address, recorded.from_client[0])
    if answer.hello is None:
        if answer.alert is not None:
            return Verdict.WITHSTOOD, answer.words
        return await unless_nobody_is_served(target, answer.words)
    if answer.hello.random == Hello.read(recorded.from_server[0]).random:
        return Verdict.NOT_WITHSTOOD, "the server answered with the ServerHello that was recorded"
    return Verdict.WITHSTOOD, "the server began a new handshake, with a new random of its own"


async def _connection_again(target: Target) -> _Result:
    recorded = await _recorded(target)
    played = await play(b"".join(recorded.from_client), target.address)
    answer = _records(played.answer)
    words = f"{_in_words(answer)}, and {_end_in_words(played)}"
    if any(record[0] in (_CHANGE_CIPHER_SPEC, _APPLICATION_DATA) for record in answer):
        return Verdict.NOT_WITHSTOOD, words
    return await unless_nobody_is_served(target, words)


async def _recorded(target: Target) -> Forwarding:
    """An honest connection, as anybody on the network sees it."""
    client = await honest(target)
    async with forwarding(target.address) as relay, speaking(client, relay.address) as (insider, _):
        if target.sessions:
            await insider.open()
            await insider.send(insider.seal.data(_PIECE, more=True))
    return relay


def _records(received: bytes) -> list[bytes]:
    records = []
    while len(received) > 5:
        end = 5 + int.from_bytes(received[3:5])
        records.append(received[:end])
        received = received[end:]
    return records


def _in_words(answer: list[bytes]) -> str:
    last = answer[-1] if answer else b""
    if any(record[0] == _APPLICATION_DATA for record in answer):
        return "the server took it, and sent data"
    if any(record[0] == _CHANGE_CIPHER_SPEC for record in answer):
        return "the server went through the handshake"
    if last[:1] == bytes((_ALERT,)) and len(last) == _PLAIN_ALERT_BYTES:
        return f"the server refused: {alert_words(last[-1])}"
    if answer:
        return "the server began a handshake and went no further, without saying why"
    return "the server said nothing"


def _end_in_words(played: Played) -> str:
    if played.closed:
        return "closed the connection"
    return f"had not closed the connection after {PATIENCE_S:g} s"


# In the same session, by a peer that has its keys

_Tamper = Callable[[list[bytes]], list[bytes]]


def _first_twice(sealed: list[bytes]) -> list[bytes]:
    return [sealed[0], sealed[0], *sealed[1:]]


def _second_left_out(sealed: list[bytes]) -> list[bytes]:
    return [sealed[0], *sealed[2:]]


def _second_and_third_exchanged(sealed: list[bytes]) -> list[bytes]:
    return [sealed[0], sealed[2], sealed[1], *sealed[3:]]


async def _tampered(tamper: _Tamper, target: Target) -> _Result:
    async with speaking(await honest(target), target.address) as (insider, _):
        await insider.open()
        await insider.send(*tamper(_whole_direction(insider)))
        return _found_out(await hear(insider))


def _whole_direction(insider: Insider) -> list[bytes]:
    """All that we say, to its end: whoever takes the frames before it has no objection at all."""
    seal = insider.seal
    pieces = [seal.data(_PIECE, more=True) for _ in range(3)]
    return [*pieces, seal.data(_PIECE), seal.close()]


async def _reflected(target: Target) -> _Result:
    async with speaking(await honest(target), target.address) as (insider, _):
        await insider.open()
        ready = insider.received[-1]
        # What the server says first by itself has the number that is due from us.
        before = await hear(insider, patience_s=_UNPROMPTED_S)
        if before.over:
            return _ended_by_itself(before)
        said = insider.received[-1]
        await insider.send(said)
        heard = await hear(insider)
        what = "READY" if said == ready else "its first frame after READY"
    verdict, words = _found_out(heard)
    return verdict, f"{words} (to {what})"


def _found_out(heard: Heard) -> _Result:
    """Whether a frame that is not genuine, or not due, ended the session."""
    if heard.found_out:
        return Verdict.WITHSTOOD, str(heard)
    if heard.error is not None:
        return _ended_by_itself(heard)
    if heard.closed or heard.end is None:
        return Verdict.NOT_WITHSTOOD, f"no objection; {heard}"
    return Verdict.WITHSTOOD, str(heard)


def _ended_by_itself(heard: Heard) -> _Result:
    return Verdict.NOT_TRIED, f"it takes an app that lets the session be: {heard}"


# In another session


async def _frame_of_another_session(target: Target) -> _Result:
    client = await honest(target)
    async with speaking(client, target.address) as (first, _):
        await first.open()
        recorded = first.seal.data(_PIECE, more=True)
        await first.send(recorded)
    async with speaking(client, target.address) as (second, _):
        await second.open()
        second.seal.data(_PIECE, more=True)  # the number is used
        await second.send(recorded, second.seal.data(_PIECE), second.seal.close())
        return _found_out(await hear(second))


async def _session_again(target: Target) -> _Result:
    client = await honest(target)
    async with speaking(client, target.address) as (first, _):
        await first.open()
        await first.send(first.seal.data(_PIECE, more=True))
    async with speaking(client, target.address) as (second, stream):
        stream.write(b"".join(first.sent))
        # The keys would be the first session's.
        heard = await hear(second)
    if second.received:
        return Verdict.NOT_WITHSTOOD, "the server took KEY, and answered"
    return await unless_nobody_is_served(target, f"{heard}, without READY")


# Cut short


async def _cut_towards_the_server(target: Target) -> _Result:
    async with speaking(await honest(target), target.address) as (insider, stream):
        await insider.open()
        before = await hear(insider, patience_s=_UNPROMPTED_S)
        if before.over:
            return _ended_by_itself(before)
        stream.write_eof()
        heard = await hear(insider)
    if heard.closed or heard.end is None:
        return Verdict.NOT_WITHSTOOD, f"it took the cut for an end in good order; {heard}"
    return Verdict.WITHSTOOD, f"{heard}, without CLOSE"


async def _cut_towards_our_client(target: Target) -> _Result:
    client = await honest(target)
    async with forwarding(target.address, from_server=_up_to_ready()) as relay:
        stream = await client.connect(relay.address)
        server = Peer.of(stream.peer_certificate or target.server.certificate)
        try:
            async with Session.connect(
                stream, own_certificate=client.certificate, peer=server, limits=_LIMITS
            ) as session:
                relay.cut()
                async with asyncio.timeout(PATIENCE_S):
                    while True:
                        await session.receive()
        except (SessionClosedError, TimeoutError):
            return Verdict.NOT_WITHSTOOD, "our client took the cut for an end in good order"
        except SessionError as error:
            return Verdict.WITHSTOOD, explained(error)
        finally:
            stream.abort()


def _up_to_ready() -> Alter:
    """Passes the first record of a session on alone, so that no app's own end is among it."""
    ready_is_by = False

    def alter(record: bytes) -> bytes:
        nonlocal ready_is_by
        passed = b"" if ready_is_by else record
        ready_is_by |= record[0] == _APPLICATION_DATA
        return passed

    return alter


# The table


def _attack(
    name: str,
    tried: str,
    source: str,
    run: Callable[[Target], Awaitable[_Result]],
    *,
    on_sessions: bool = True,
    needs: Needs = Needs.NOTHING,
) -> Attack:
    return Attack(
        name=name,
        group=_GROUP,
        tried=tried,
        source=source,
        run=run,
        needs=needs,
        on_sessions=on_sessions,
    )


_SESSION = "docs/session-protocol.md"

ATTACKS: tuple[Attack, ...] = (
    _attack(
        "ClientHello again",
        "the recorded ClientHello of an honest connection",
        "RFC 5246, section 7.4.1.3; appendix F.2",
        _hello_again,
        on_sessions=False,
    ),
    _attack(
        "whole connection again",
        "every record that an honest client sent in an earlier connection",
        "RFC 5246, section 7.4.8; appendix F.1.1.2",
        _connection_again,
        on_sessions=False,
    ),
    _attack(
        "frame again in the same session",
        "a genuine frame twice",
        f"{_SESSION}, sequence",
        partial(_tampered, _first_twice),
    ),
    _attack(
        "frame left out",
        "genuine frames, the second of them left out",
        f"{_SESSION}, sequence",
        partial(_tampered, _second_left_out),
    ),
    _attack(
        "frames exchanged",
        "genuine frames, the second and the third of them exchanged",
        f"{_SESSION}, sequence",
        partial(_tampered, _second_and_third_exchanged),
    ),
    _attack(
        "frame again, towards our client",
        "the server's first frame after READY twice",
        f"{_SESSION}, sequence",
        partial(towards_us.altered, towards_us.first_twice),
    ),
    _attack(
        "frame left out, towards our client",
        "the server's frames, the first after READY left out",
        f"{_SESSION}, sequence",
        partial(towards_us.altered, towards_us.first_left_out),
    ),
    _attack(
        "frames exchanged, towards our client",
        "the server's frames, the first and the second after READY exchanged",
        f"{_SESSION}, sequence",
        partial(towards_us.altered, towards_us.exchanged),
    ),
    _attack(
        "frame reflected",
        "a frame of the server's own, sent back to it as ours",
        f"{_SESSION}, keys of a direction",
        _reflected,
    ),
    _attack(
        "frame of another session",
        "a genuine frame of an earlier session of ours, with the number that is due",
        f"{_SESSION}, key schedule",
        _frame_of_another_session,
    ),
    _attack(
        "whole session again",
        "every frame of an earlier session of ours, KEY included, in a new connection",
        f"{_SESSION}, binding; RFC 5929, section 3",
        _session_again,
    ),
    _attack(
        "cut without CLOSE, towards the server",
        "close_notify in the place of CLOSE",
        f"{_SESSION}, CLOSE; RFC 5246, section 7.2.1",
        _cut_towards_the_server,
    ),
    _attack(
        "cut without CLOSE, towards our client",
        "a relay that cuts a session's connection",
        f"{_SESSION}, CLOSE; RFC 5246, section 7.2.1",
        _cut_towards_our_client,
    ),
    _attack(
        "ticket of an expired certificate",
        "a TLS session from before our certificate's end, resumed after it",
        "RFC 5077; RFC 5246, appendix F.1.4",
        tickets.of_an_expired_certificate,
        on_sessions=False,
        needs=Needs.TTP_STATE,
    ),
    _attack(
        "ticket of a revoked certificate",
        "a TLS session from before our certificate's revocation, resumed after it, for up to 5 s",
        "RFC 5077; RFC 5246, appendix F.1.4",
        tickets.of_a_revoked_certificate,
        on_sessions=False,
        needs=Needs.TTP_STATE,
    ),
)
