"""An old TLS session resumed by somebody whose certificate is worth nothing any more (RFC 5077).

A resumed handshake shows no certificate, so OpenSSL verifies none; who resumes is known from the
session alone. In one the server's last flight leaves before the client's: that the handshake is
done says nothing yet, and what counts is whether the server goes on.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from asynctls.errors import AsynctlsError, TruncatedError
from asynctls.pki.profiles import Profile
from asynctls.probe.answers import explained, is_told
from asynctls.probe.attack import PATIENCE_S, Verdict
from asynctls.probe.clients import honest, unless_nobody_is_served
from asynctls.probe.insider import Insider
from asynctls.probe.visits import visit

if TYPE_CHECKING:
    import ssl

    from asynctls.probe.attack import Target
    from asynctls.probe.clients import Client
    from asynctls.tls import Stream

__all__ = ["of_a_revoked_certificate", "of_an_expired_certificate"]

HEARS_OF_IT_S = 5.0
"""How long a server gets to hear of a revocation, in seconds."""

_AGAIN_S = 0.5
# Who has no sessions is listened to for so long before it counts as serving us.
_LIFETIME = timedelta(seconds=2 + PATIENCE_S)

_Result = tuple[Verdict, str]

_NO_TICKET: _Result = (Verdict.NOT_TRIED, "it takes a server that gives session tickets")


async def of_an_expired_certificate(target: Target) -> _Result:
    """One that ends a few seconds after it was issued."""
    identity = await target.ca.issue(Profile.CLIENT, target.identity.sans, lifetime=_LIFETIME)
    client = await honest(target, identity)
    session = await _session(target, client)
    if session is None:
        return _NO_TICKET
    await asyncio.sleep((identity.not_after - datetime.now(UTC)).total_seconds())
    return await _resumed(target, client, session)


async def of_a_revoked_certificate(target: Target) -> _Result:
    """It is revoked, and refusals make the server ask for the CRL; until it has it, we try."""
    identity = await target.ca.issue(Profile.CLIENT, target.identity.sans)
    client = await honest(target, identity)
    session = await _session(target, client)
    if session is None:
        return _NO_TICKET
    await target.ca.revoke(identity)
    until = asyncio.get_running_loop().time() + HEARS_OF_IT_S
    while True:
        # Whoever refuses somebody asks the TTP for what it may not know yet.
        await visit(target, None)
        verdict, words = await _resumed(target, client, session)
        over = asyncio.get_running_loop().time() >= until
        if verdict is not Verdict.NOT_WITHSTOOD or over:
            return verdict, words
        await asyncio.sleep(_AGAIN_S)


async def _session(target: Target, client: Client) -> ssl.SSLSession | None:
    """The session of a connection that was served; None: the server gives no tickets."""
    stream = await client.connect(target.address)
    try:
        await _served(target, client, stream)
        session = stream.ssl_session
        return session if session is not None and session.has_ticket else None
    finally:
        stream.abort()


async def _resumed(target: Target, client: Client, session: ssl.SSLSession) -> _Result:
    try:
        stream = await client.connect(target.address, session=session)
    except AsynctlsError as error:
        if is_told(error):
            return Verdict.WITHSTOOD, explained(error)
        return await unless_nobody_is_served(target, explained(error))
    how = "in the resumed session" if stream.resumed else "after a full handshake"
    try:
        await _served(target, client, stream)
    except (AsynctlsError, OSError) as error:
        return await unless_nobody_is_served(target, f"{explained(error)}, {how}")
    finally:
        stream.abort()
    return Verdict.NOT_WITHSTOOD, f"we were served {how}"


async def _served(target: Target, client: Client, stream: Stream) -> None:
    """Whether the server goes on with us.

    Raises:
        AsynctlsError: it does not, and how it says so.
        TimeoutError: it says nothing.
    """
    if target.sessions:
        await Insider(stream, certificate=client.certificate).open()
        return
    try:
        async with asyncio.timeout(PATIENCE_S):
            if not await stream.read():
                raise TruncatedError("the server ended the connection")
    except TimeoutError:
        return
