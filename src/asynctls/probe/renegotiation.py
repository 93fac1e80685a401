"""Renegotiation: a second ClientHello, under the keys of a connection that an honest client made.

A server that goes on with it has another handshake at any client's word, the dearest thing that it
does; and where the second one is not bound to the first (RFC 5746), whoever made the first can put
its own bytes before another client's.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from asynctls.errors import TruncatedError
from asynctls.probe.attack import PATIENCE_S, Attack, Target, Verdict
from asynctls.probe.clients import careless
from asynctls.probe.hellos import RENEGOTIATION_INFO, TLS_1_2, client_hello
from asynctls.probe.offers import alert_words, connection
from asynctls.probe.suites import STRONG
from asynctls.probe.taken_over import ALERT, HANDSHAKE, TakenOver
from asynctls.session import ALPN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["ATTACKS"]

_SERVER_HELLO = 2
_FATAL = 2
_CLOSE_NOTIFY = 0
_NO_RENEGOTIATION = 100


_CLOSED = "closed the connection"


async def _renegotiate(target: Target, *, securely: bool) -> tuple[Verdict, str]:
    hello = client_hello(TLS_1_2, STRONG, alpn=ALPN if target.sessions else None)
    async with _taken_over(target) as connected:
        del hello.extensions[RENEGOTIATION_INFO]
        if securely:
            bound = connected.verify_data
            hello.extensions[RENEGOTIATION_INFO] = len(bound).to_bytes(1) + bound
        connected.send(HANDSHAKE, hello.message())
        verdict, words = await _answer(connected)
    if words == _CLOSED:
        # As a tunnel's end does with every connection, where nobody is behind it.
        async with _taken_over(target) as connected:
            if (await _answer(connected))[1] == _CLOSED:
                return Verdict.NOT_TRIED, "it takes a server that does not close at once anyway"
    return verdict, words


@asynccontextmanager
async def _taken_over(target: Target) -> AsyncIterator[TakenOver]:
    us = target.identity
    client = await careless(target, us.store, certificate=us.certificate)
    async with connection(target.address) as (reader, writer):
        async with asyncio.timeout(PATIENCE_S):
            connected = await TakenOver.shake_hands(reader, writer, client.context)
        yield connected


async def _answer(connected: TakenOver) -> tuple[Verdict, str]:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (answer := _answer_in(*await connected.receive())) is None:
                pass
    except TimeoutError:
        return Verdict.WITHSTOOD, f"said nothing of it within {PATIENCE_S:g} s"
    except (TruncatedError, OSError):
        return Verdict.WITHSTOOD, _CLOSED
    return answer


def _answer_in(content: int, plaintext: bytes) -> tuple[Verdict, str] | None:
    """What a record says about a second hello; None: nothing."""
    if content == HANDSHAKE and plaintext[:1] == bytes((_SERVER_HELLO,)):
        return Verdict.NOT_WITHSTOOD, "agreed: a second ServerHello"
    if content == ALERT and len(plaintext) == 2:
        level, alert = plaintext
        if alert == _CLOSE_NOTIFY:
            return Verdict.WITHSTOOD, _CLOSED
        if level == _FATAL or alert == _NO_RENEGOTIATION:
            return Verdict.WITHSTOOD, f"refused: {alert_words(alert)}"
    return None


ATTACKS: tuple[Attack, ...] = (
    Attack(
        name="secure renegotiation",
        group="downgrade",
        tried="a second ClientHello under the keys of an honest connection, bound to it",
        source="RFC 9325, section 3.5; CVE-2011-1473",
        run=partial(_renegotiate, securely=True),
    ),
    Attack(
        name="insecure renegotiation",
        group="downgrade",
        tried="a second ClientHello under the keys of an honest connection, bound to nothing",
        source="RFC 5746, section 1; CVE-2009-3555",
        run=partial(_renegotiate, securely=False),
    ),
)
