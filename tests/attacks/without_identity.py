"""Servers that let the wrong one in: each lacks the one check that its attack is about."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

from asynctls import admission
from asynctls.admission import Anyone, Rules, admit, allow_list
from asynctls.pki.profiles import Profile
from asynctls.probe import identity
from asynctls.probe.relays import everybody
from asynctls.session import ALPN
from asynctls.tls import server_context
from tests.attacks.certified import certified
from tests.attacks.openssl import s_server
from tests.attacks.victims import Server, server_of, target_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from asynctls.probe.attack import Target
    from asynctls.tls import Admit, Verdict
    from tests.attacks.world import World

__all__ = ["WITHOUT_DEFENCE"]

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which Python has no name for."""


@asynccontextmanager
async def asking_for_none(world: World) -> AsyncIterator[Target]:
    """Whoever comes need not show a certificate."""
    server = replace(server_of(world, world.holder("server", Profile.SERVER)), admit=everybody)
    server.context.verify_mode = ssl.CERT_NONE
    async with server.serving() as served:
        yield target_of(world, served.address)


@asynccontextmanager
async def verifying_nothing(world: World) -> AsyncIterator[Target]:
    """Asks for a certificate and takes any: OpenSSL's own server does so unless told otherwise."""
    holder = world.holder("server", Profile.SERVER)
    trust = holder.chain.with_name("trust.pem")
    trust.write_text(world.trust)
    async with s_server(holder, "-CAfile", trust, "-Verify", "2") as address:
        yield target_of(world, address)


@asynccontextmanager
async def of_any_protocol(world: World) -> AsyncIterator[Target]:
    """Takes whoever has a certificate for a client of its own protocol."""
    rules = Rules(allow=allow_list(["client"]), crls=(world.crl,), alpn=None)
    server = server_of(world, world.holder("server", Profile.SERVER))
    async with replace(server, admit=by(rules)).serving() as served:
        yield target_of(world, served.address)


@asynccontextmanager
async def lenient(
    _world: World, *, dates: bool = True, anyone: bool = False, security_level: int = 2
) -> AsyncIterator[Target]:
    """The server as it is, with a CRL that it never renews, but for what is given."""
    async with certified() as its:
        context = server_context(
            chain=its.server.chain,
            key=its.server.key,
            trust=its.trust.read_text(),
            alpn=[ALPN],
        )
        context.set_ciphers(f"ECDHE+AESGCM:@SECLEVEL={security_level}")
        allow = Anyone() if anyone else allow_list(["client"])
        judge = by(Rules(allow=allow, crls=(its.crl,), alpn=ALPN))
        if not dates:
            context.verify_flags |= _NO_CHECK_TIME
            judge = partial(_whatever_the_date, judge)
        async with Server(its.server, context, judge).serving() as served:
            yield its.target(served.address)


@asynccontextmanager
async def with_an_old_crl(world: World) -> AsyncIterator[Target]:
    """Never asks for another one; the probe gives up sooner than it does elsewhere."""
    with patch.object(identity, "_REVOKED_S", 1.0):
        async with lenient(world) as target:
            yield target


@asynccontextmanager
async def for_any_use(_world: World) -> AsyncIterator[Target]:
    """Verifies all of a certificate but what it is for."""
    async with certified() as its:
        verified = ("-CAfile", its.trust, "-Verify", "2", "-verify_return_error")
        async with s_server(its.server, *verified, "-purpose", "any") as address:
            yield its.target(address)


def by(rules: Rules) -> Admit:
    return lambda certificate, alpn: admit(certificate, alpn, now=datetime.now(UTC), rules=rules)


def _whatever_the_date(judge: Admit, certificate: bytes | None, alpn: str | None) -> Verdict:
    with patch.object(admission, "_judge_dates", return_value=None):
        return judge(certificate, alpn)


WITHOUT_DEFENCE: Mapping[str, Callable[[World], AbstractAsyncContextManager[Target]]] = {
    "no certificate": asking_for_none,
    "self-signed certificate": verifying_nothing,
    "certificate of another CA": verifying_nothing,
    "ALPN missing": of_any_protocol,
    "ALPN foreign": of_any_protocol,
    "expired certificate": partial(lenient, dates=False),
    "certificate not yet valid": partial(lenient, dates=False),
    "revoked certificate": with_an_old_crl,
    "wrong extended key usage": for_any_use,
    "weak key": partial(lenient, security_level=0),
    "name not on the allow list": partial(lenient, anyone=True),
}
