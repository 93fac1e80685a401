"""Downgrade: would the server speak something weaker than TLS 1.2 with ECDHE and AES-GCM?

Each attack is a hand-made ClientHello that offers the weak thing, and what counts is whether the
server goes on with it: a ServerHello is its word that it would. A server that refuses answers with
an alert or closes; one that says nothing has agreed to nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from asynctls.pki.names import NameKind, kind_of
from asynctls.probe import suites
from asynctls.probe.attack import Attack, Target, Verdict
from asynctls.probe.hellos import SSL_3_0, TLS_1_0, TLS_1_1, TLS_1_2, Hello, client_hello
from asynctls.probe.offers import offer
from asynctls.session import ALPN

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ATTACKS"]


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
    answer = await offer(target.address, _hello(target, version, offered).record())
    return Verdict.WITHSTOOD if answer.hello is None else Verdict.NOT_WITHSTOOD, answer.words


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
        "RFC 9325, section 4.2.1; Lucky 13 (CVE-2013-0169)",
    ),
    _weak_suites(
        "RSA key exchange",
        suites.RSA_KEY_EXCHANGE,
        "suites without forward secrecy",
        "RFC 9325, section 4.1; ROBOT (CVE-2017-13099)",
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
        "FREAK (CVE-2015-0204); Logjam (CVE-2015-4000)",
    ),
)
