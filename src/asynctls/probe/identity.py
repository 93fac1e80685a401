"""Identity: somebody comes in who is nobody, somebody else, or no longer who they were.

Each shows the server something with one flaw. What only the CA can make (`--ttp-state`) has our own
names, so that nothing but its flaw can be what it is refused for; an answer names the alert, which
says whether it was.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from asynctls.pki.profiles import Profile
from asynctls.probe.attack import Attack, Needs, Verdict
from asynctls.probe.credential import Credential
from asynctls.probe.visits import judged, visit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cryptography import x509

    from asynctls.probe.attack import Target

__all__ = ["ATTACKS", "WEAK_BITS"]

WEAK_BITS = 1024
"""Of the weak RSA key, where 2048 are the least (RFC 9325, section 4.5)."""

_GROUP = "identity"
_MINUTE = timedelta(minutes=1)
_REVOKED_S = 5.0
_PAUSE_S = 0.5

_Outcome = tuple[Verdict, str]


async def _no_certificate(target: Target) -> _Outcome:
    return await judged(target, await visit(target, None))


async def _self_signed(target: Target) -> _Outcome:
    credential = await asyncio.to_thread(Credential.self_signed, target.identity.sans)
    return await judged(target, await visit(target, credential))


async def _of_another_ca(target: Target) -> _Outcome:
    credential = await asyncio.to_thread(
        Credential.of_another_ca, target.identity.sans, Profile.CLIENT
    )
    return await judged(target, await visit(target, credential))


async def _with_alpn(target: Target, *, alpn: Sequence[str]) -> _Outcome:
    return await judged(target, await visit(target, target.identity, alpn=alpn))


async def _issued(
    target: Target,
    *,
    lifetime: timedelta = _MINUTE,
    starts_in: timedelta = timedelta(),
    uses: Sequence[x509.ObjectIdentifier] | None = None,
) -> _Outcome:
    shown = await target.ca.issue(
        Profile.CLIENT, target.identity.sans, lifetime=lifetime, starts_in=starts_in, uses=uses
    )
    return await judged(target, await visit(target, shown))


async def _weak_key(target: Target) -> _Outcome:
    key = await asyncio.to_thread(rsa.generate_private_key, 65537, WEAK_BITS)
    shown = await target.ca.certify(key, Profile.CLIENT, target.identity.sans)
    return await judged(target, await visit(target, shown))


async def _not_on_the_list(target: Target) -> _Outcome:
    name = target.ca.name_of_nobody()
    visited = await visit(target, await target.ca.issue(Profile.CLIENT, [name]))
    verdict, answer = await judged(target, visited)
    return verdict, f"{answer}, as {name}" if visited.let_in else answer


async def _revoked(target: Target) -> _Outcome:
    shown = await target.ca.issue(Profile.CLIENT, target.identity.sans)
    before = await visit(target, shown)
    if not before.let_in:
        return Verdict.NOT_TRIED, f"it was not let in before it was revoked either: {before.answer}"
    await target.ca.revoke(shown)
    loop = asyncio.get_running_loop()
    revoked_at = loop.time()
    while True:
        # The one that is refused has the server ask its TTP for a CRL.
        await visit(target, None)
        now = await visit(target, shown)
        passed_s = loop.time() - revoked_at
        if not now.let_in:
            return Verdict.WITHSTOOD, f"{now.answer}, {passed_s:.1f} s after the revocation"
        if passed_s > _REVOKED_S:
            return Verdict.NOT_WITHSTOOD, (
                f"still let in {passed_s:.1f} s after the revocation: it has no CRL that "
                "says so; does its TTP run?"
            )
        await asyncio.sleep(_PAUSE_S)


def _by_anybody(
    name: str, tried: str, source: str, run: Callable[[Target], Awaitable[_Outcome]]
) -> Attack:
    return Attack(name=name, group=_GROUP, tried=tried, source=source, run=run)


def _by_the_ca(
    name: str, tried: str, source: str, run: Callable[[Target], Awaitable[_Outcome]]
) -> Attack:
    return Attack(
        name=name, group=_GROUP, tried=tried, source=source, run=run, needs=Needs.TTP_STATE
    )


ATTACKS: tuple[Attack, ...] = (
    _by_anybody(
        "no certificate",
        "a handshake in which we show no certificate",
        "RFC 5246, section 7.4.6",
        _no_certificate,
    ),
    _by_anybody(
        "self-signed certificate",
        "a certificate that is its own issuer",
        "RFC 5280, section 6.1",
        _self_signed,
    ),
    _by_anybody(
        "certificate of another CA",
        "a certificate for our own names by a CA that nobody trusts",
        "RFC 5280, section 6.1",
        _of_another_ca,
    ),
    Attack(
        name="ALPN missing",
        group=_GROUP,
        tried="our own certificate, and no application protocol offered",
        source="RFC 7301, section 3.2; ALPACA",
        run=partial(_with_alpn, alpn=()),
        on_sessions=True,
    ),
    Attack(
        name="ALPN foreign",
        group=_GROUP,
        tried="our own certificate, and only http/1.1 offered as application protocol",
        source="RFC 7301, section 3.2; ALPACA",
        run=partial(_with_alpn, alpn=("http/1.1",)),
        on_sessions=True,
    ),
    _by_the_ca(
        "expired certificate",
        "a certificate that ended a minute ago",
        "RFC 5280, section 6.1.3 (a) (2)",
        partial(_issued, starts_in=-2 * _MINUTE),
    ),
    _by_the_ca(
        "certificate not yet valid",
        "a certificate that begins in two minutes",
        "RFC 5280, section 6.1.3 (a) (2)",
        partial(_issued, starts_in=3 * _MINUTE),
    ),
    _by_the_ca(
        "revoked certificate",
        "a certificate that was let in, then was revoked, for up to 5 s",
        "RFC 5280, section 6.1.3 (a) (3)",
        _revoked,
    ),
    _by_the_ca(
        "wrong extended key usage",
        "a certificate that is good for servers alone",
        "RFC 5280, section 4.2.1.12",
        partial(_issued, uses=[ExtendedKeyUsageOID.SERVER_AUTH]),
    ),
    _by_the_ca(
        "weak key",
        f"a certificate whose key is RSA of {WEAK_BITS} bits",
        "RFC 9325, section 4.5",
        _weak_key,
    ),
    _by_the_ca(
        "name not on the allow list",
        "a good certificate of the server's own CA, for a name that nobody has",
        "CWE-863",
        _not_on_the_list,
    ),
)
