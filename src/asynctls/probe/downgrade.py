"""Downgrade: would the server speak something weaker than TLS 1.2 with ECDHE and AES-GCM?

Each attack is a hand-made ClientHello that offers the weak thing, and what counts is whether the
server goes on with it: a ServerHello is its word that it would. A server that refuses answers with
an alert or closes; one that says nothing has agreed to nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from asynctls.errors import HandshakeError, RefusedByPeerError, SessionError, TruncatedError
from asynctls.pki.names import NameKind, kind_of
from asynctls.probe import renegotiation, suites
from asynctls.probe.answers import explained
from asynctls.probe.attack import Attack, Target, Verdict
from asynctls.probe.clients import careless, speaking, unless_nobody_is_served
from asynctls.probe.hellos import (
    FALLBACK_SCSV,
    SSL_3_0,
    TLS_1_0,
    TLS_1_1,
    TLS_1_2,
    TLS_1_3,
    Hello,
    client_hello,
)
from asynctls.probe.offers import Answer, offer
from asynctls.session import ALPN

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ATTACKS"]

_DEFLATE_LZS_OR_NONE = b"\1\x40\0"
_OP_NO_EXTENDED_MASTER_SECRET = 1


def _hello(
    target: Target, version: int, offered: Iterable[int], *, compressions: bytes = b"\0"
) -> Hello:
    """One that lacks nothing that this server may want, but for what the attack is about."""
    name = target.server_name
    return client_hello(
        version,
        offered,
        server_name=name if name is not None and kind_of(name) is NameKind.DNS else None,
        alpn=ALPN if target.sessions else None,
        compressions=compressions,
    )


async def _refuses(version: int, offered: Iterable[int], target: Target) -> tuple[Verdict, str]:
    """Whether it agrees to nothing of what is offered."""
    hello = _hello(target, version, offered)
    return await _judged(target, await offer(target.address, hello.record()))


async def _judged(target: Target, answer: Answer) -> tuple[Verdict, str]:
    if answer.hello is not None:
        return Verdict.NOT_WITHSTOOD, answer.words
    if answer.alert is None:
        # Who closes or is silent may do so whatever is offered: since too many come from here, say.
        honest = await offer(target.address, _hello(target, TLS_1_2, suites.STRONG).record())
        if honest.hello is None:
            takes = "it takes a server that has a place for us"
            return Verdict.NOT_TRIED, f"{takes}: whatever is offered, it {honest.words}"
    return Verdict.WITHSTOOD, answer.words


async def _refuses_tls_1_3(target: Target) -> tuple[Verdict, str]:
    """Whether it keeps to TLS 1.2 where something hangs on that: sessions are bound to tls-unique.

    To any other server TLS 1.3 is nothing weaker.
    """
    verdict, words = await _refuses(TLS_1_3, suites.TLS_1_3_SUITES, target)
    if verdict is Verdict.NOT_WITHSTOOD and not target.sessions:
        return Verdict.WITHSTOOD, f"{words}: nothing weaker"
    return verdict, words


async def _refuses_what_was_stripped(target: Target, *, marked: bool) -> tuple[Verdict, str]:
    """Whether it agrees to TLS 1.1 with a client that had offered 1.2."""
    hello = _hello(target, TLS_1_2, [*suites.STRONG, *suites.OLD])
    hello.version = TLS_1_1
    if marked:
        hello.suites.append(FALLBACK_SCSV)
    return await _judged(target, await offer(target.address, hello.record()))


async def _compresses_nothing(target: Target) -> tuple[Verdict, str]:
    """Whether it chooses no compression where it could."""
    hello = _hello(target, TLS_1_2, suites.STRONG, compressions=_DEFLATE_LZS_OR_NONE)
    answer = await offer(target.address, hello.record())
    if answer.hello is not None and not answer.hello.compression:
        return Verdict.WITHSTOOD, f"{answer.words}, no compression"
    return await _judged(target, answer)


async def _needs_extended_master_secret(target: Target) -> tuple[Verdict, str]:
    """Whether it opens no session in a connection whose master secret is not bound to it."""
    us = target.identity
    client = await careless(target, us.store, certificate=us.certificate)
    client.context.options |= _OP_NO_EXTENDED_MASTER_SECRET
    try:
        async with speaking(client, target.address) as (insider, stream):
            if stream.extended_master_secret:
                return Verdict.NOT_TRIED, "it takes OpenSSL 3 here, which can leave it out"
            try:
                await insider.open()
            except (HandshakeError, TruncatedError, SessionError, OSError):
                words = "agreed to the handshake, and opened no session in it"
                return await unless_nobody_is_served(target, words)
    except RefusedByPeerError as error:
        return Verdict.WITHSTOOD, explained(error)
    except HandshakeError as error:
        return await unless_nobody_is_served(target, explained(error))
    return Verdict.NOT_WITHSTOOD, "opened a session: READY"


def _old_version(name: str, version: int, source: str) -> Attack:
    return Attack(
        name=f"{name} alone",
        group="downgrade",
        tried=f"a hand-made ClientHello that offers {name} and no other version",
        source=source,
        run=partial(_refuses, version, suites.OLD),
    )


def _weak_suites(name: str, offered: Iterable[int], what: str, source: str) -> Attack:
    return Attack(
        name=name,
        group="downgrade",
        tried=f"a hand-made ClientHello of TLS 1.2 that offers {what} alone",
        source=source,
        run=partial(_refuses, TLS_1_2, offered),
    )


ATTACKS: tuple[Attack, ...] = (
    _old_version("SSL 3.0", SSL_3_0, "RFC 7568; POODLE (CVE-2014-3566)"),
    _old_version("TLS 1.0", TLS_1_0, "RFC 8996; BEAST (CVE-2011-3389)"),
    _old_version("TLS 1.1", TLS_1_1, "RFC 8996"),
    Attack(
        name="TLS 1.3 alone",
        group="downgrade",
        tried="a hand-made ClientHello that offers TLS 1.3 and no other version",
        source="RFC 8446, appendix C.5: 1.3 has no tls-unique, to which sessions are bound",
        run=_refuses_tls_1_3,
    ),
    Attack(
        name="TLS 1.2 stripped to 1.1",
        group="downgrade",
        tried="a ClientHello of TLS 1.2, with 1.1 written into it on the way",
        source="RFC 8996; RFC 5246, appendix E.1",
        run=partial(_refuses_what_was_stripped, marked=False),
    ),
    Attack(
        name="TLS 1.2 stripped to 1.1, with TLS_FALLBACK_SCSV",
        group="downgrade",
        tried="a ClientHello of TLS 1.2, with 1.1 written into it, and the mark of such a fallback",
        source="RFC 7507",
        run=partial(_refuses_what_was_stripped, marked=True),
    ),
    _weak_suites(
        "weak suites",
        suites.WEAK,
        "RC4, DES, 3DES and IDEA",
        "RFC 7465; RFC 9325, section 4.1; Sweet32 (CVE-2016-2183)",
    ),
    _weak_suites(
        "CBC suites",
        suites.CBC,
        "suites with CBC",
        "RFC 9325, section 4.2; Lucky Thirteen (CVE-2013-0169)",
    ),
    _weak_suites(
        "RSA key exchange",
        suites.RSA_KEY_EXCHANGE,
        "suites without forward secrecy",
        "RFC 9325, section 4.1; ROBOT (2017), after Bleichenbacher (1998)",
    ),
    _weak_suites("NULL suites", suites.NULL, "suites without encryption", "RFC 9325, section 4.1"),
    _weak_suites(
        "anonymous suites",
        suites.ANONYMOUS,
        "suites without certificates",
        "RFC 5246, appendix F.1.1.1",
    ),
    _weak_suites(
        "export suites",
        suites.EXPORT,
        "keys of 40 and 56 bits",
        "RFC 9325, section 4.1; FREAK (CVE-2015-0204); Logjam (CVE-2015-4000)",
    ),
    Attack(
        name="compression",
        group="downgrade",
        tried="a hand-made ClientHello that would rather have DEFLATE or LZS than none",
        source="RFC 9325, section 3.3; CRIME (CVE-2012-4929)",
        run=_compresses_nothing,
    ),
    *renegotiation.ATTACKS,
    Attack(
        name="no extended master secret",
        group="downgrade",
        tried="an honest handshake without the extension, and a session in it",
        source="RFC 7627, section 1: the triple handshake (2014)",
        run=_needs_extended_master_secret,
        on_sessions=True,
    ),
)
