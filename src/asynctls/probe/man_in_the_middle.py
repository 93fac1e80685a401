"""Man in the middle: somebody stands between client and server, who sees or changes what they say.

The probe is both: an honest client with the caller's identity, and whoever stands between it and
the server. Where the server cannot know that somebody is there, our client is what withstands or
not, and the answer says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING

from cryptography.x509.oid import ExtendedKeyUsageOID

from asynctls.errors import AsynctlsError, PeerRefusedError
from asynctls.pki.profiles import Profile
from asynctls.probe import flips
from asynctls.probe.answers import explained, hear, is_told
from asynctls.probe.attack import Attack, Needs, Target, Verdict
from asynctls.probe.clients import (
    careless,
    honest,
    impostor,
    speaking,
    unless_nobody_is_served,
)
from asynctls.probe.credential import Credential
from asynctls.probe.flips import Flipping
from asynctls.probe.relays import Alter, Forwarding, as_it_is, ending_tls, forwarding
from asynctls.probe.visits import judged, visit
from asynctls.session.frames import Ready

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from asynctls.enrolment import Identity
    from asynctls.probe.clients import Client, Shown
    from asynctls.probe.flips import Flip
    from asynctls.probe.insider import Insider
    from asynctls.tls import Stream

__all__ = ["ATTACKS", "flip_name"]

_GROUP = "man in the middle"

_Result = tuple[Verdict, str]


# With certificates


async def _self_signed(target: Target) -> _Result:
    return await _both_refuse(target, lambda names, _profile: Credential.self_signed(names))


async def _of_another_ca(target: Target) -> _Result:
    return await _both_refuse(target, Credential.of_another_ca)


async def _both_refuse(
    target: Target, make: Callable[[Sequence[str], Profile], Credential]
) -> _Result:
    """With the right names on both certificates."""
    as_server = await asyncio.to_thread(make, target.server.sans, Profile.SERVER)
    as_client = await asyncio.to_thread(make, target.identity.sans, Profile.CLIENT)
    results = (
        await _our_client_refuses(target, as_server),
        await _the_server_refuses(target, as_client),
    )
    return _worst([verdict for verdict, _ in results]), "; ".join(words for _, words in results)


async def _our_own(target: Target) -> _Result:
    if (target.server_name or target.server.name) in target.identity.sans:
        return Verdict.NOT_TRIED, "it takes an identity of another name than the server's"
    return await _our_client_refuses(target, target.identity.store)


async def _for_another_name(target: Target) -> _Result:
    shown = await target.ca.issue(Profile.SERVER, [target.ca.name_of_nobody()])
    return await _our_client_refuses(target, shown.store)


async def _of_a_client(target: Target) -> _Result:
    shown = await target.ca.issue(Profile.CLIENT, target.server.sans)
    return await _our_client_refuses(target, shown.store)


async def _of_a_server(target: Target) -> _Result:
    shown = await target.ca.issue(
        Profile.SERVER, target.identity.sans, uses=[ExtendedKeyUsageOID.SERVER_AUTH]
    )
    return await _the_server_refuses(target, shown)


async def _our_client_refuses(target: Target, shown: Shown) -> _Result:
    client = await honest(target)
    async with ending_tls(
        target.address,
        towards_client=await impostor(target, shown),
        towards_server=(await _ourselves(target)).context,
        carry=as_it_is,
    ) as relay:
        try:
            stream = await client.connect(relay.address)
        except PeerRefusedError as error:
            return Verdict.WITHSTOOD, explained(error)
        stream.abort()
    return Verdict.NOT_WITHSTOOD, "our client took it for the server"


async def _the_server_refuses(target: Target, shown: Identity | Credential) -> _Result:
    verdict, answer = await judged(target, await visit(target, shown))
    return verdict, answer if verdict is Verdict.NOT_TRIED else f"the server {answer}"


async def _frames_passed_on(target: Target) -> _Result:
    """With TLS content on both legs: our client takes anybody, and the server takes us."""
    us = await _ourselves(target)
    shown = await asyncio.to_thread(Credential.self_signed, target.server.sans)
    async with (
        ending_tls(
            target.address,
            towards_client=await impostor(target, shown),
            towards_server=us.context,
            carry=as_it_is,
        ) as relay,
        speaking(us, relay.address) as (insider, _),
    ):
        await insider.send_key()
        heard = await hear(insider)
    if relay.refused_by_server is not None:
        # Then nothing was passed on.
        raise relay.refused_by_server
    if any(isinstance(each, Ready) for each in heard.frames):
        return Verdict.NOT_WITHSTOOD, "the server answered KEY with READY: a session came about"
    return await unless_nobody_is_served(target, f"{heard}, without READY")


async def _ended(target: Target, error: AsynctlsError | OSError) -> _Result:
    if is_told(error):
        return Verdict.WITHSTOOD, explained(error)
    return await unless_nobody_is_served(target, explained(error))


async def _ourselves(target: Target) -> Client:
    """With the caller's certificate, and verifying nobody: what a relay is towards the server."""
    identity = target.identity
    return await careless(target, identity.store, certificate=identity.certificate)


# Without keys

Directed = Callable[[Target, Alter], AbstractAsyncContextManager[Forwarding]]


def _from_client(target: Target, alter: Alter) -> AbstractAsyncContextManager[Forwarding]:
    return forwarding(target.address, from_client=alter)


def _from_server(target: Target, alter: Alter) -> AbstractAsyncContextManager[Forwarding]:
    return forwarding(target.address, from_server=alter)


async def _flipped(flip: Flip, direction: Directed, target: Target) -> _Result:
    flipping = Flipping(flip)
    client = await honest(target)
    async with direction(target, flipping) as relay:
        try:
            async with speaking(client, relay.address) as (insider, stream):
                result = await _gone_on(flip, insider, stream)
        except (AsynctlsError, OSError) as error:
            if flipping.done:
                return await _ended(target, error)
            return Verdict.NOT_TRIED, f"there was no {flip.name} to change: {explained(error)}"
    if flipping.done:
        return result
    return Verdict.NOT_TRIED, f"there was no {flip.name} to change"


async def _gone_on(flip: Flip, insider: Insider, stream: Stream) -> _Result:
    """What came of a handshake that was done; of what is flipped after it, the next step."""
    match flip.content:
        case flips.APPLICATION_DATA:
            # KEY one way, READY the other.
            await insider.open()
            return Verdict.NOT_WITHSTOOD, "the session came about all the same"
        case flips.ALERT:
            # close_notify one way, which is answered by one the other way.
            await insider.open()
            stream.write_eof()
            heard = await hear(insider)
            if heard.end is not None and not heard.in_order:
                return Verdict.WITHSTOOD, heard.end
            if heard.error is not None:
                return Verdict.NOT_TRIED, f"it takes an app that lets the session be: {heard}"
            return Verdict.NOT_WITHSTOOD, str(heard)
    return Verdict.NOT_WITHSTOOD, "the handshake went through all the same"


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    ranks = (Verdict.NOT_WITHSTOOD, Verdict.NOT_TRIED, Verdict.WITHSTOOD)
    return min(verdicts, key=ranks.index)


def _with_certificate(
    name: str,
    shown: str,
    source: str,
    run: Callable[[Target], Awaitable[_Result]],
    needs: Needs = Needs.NOTHING,
) -> Attack:
    return Attack(
        name=name,
        group=_GROUP,
        tried=f"a relay that ends TLS and shows {shown}",
        source=source,
        run=run,
        needs=needs,
    )


def flip_name(flip: Flip, sender: str) -> str:
    """The name of the attack that changes what a client or a server sends."""
    return f"bit flipped in the {sender}'s {flip.name}"


def _flip(flip: Flip, direction: Directed, sender: str) -> Attack:
    return Attack(
        name=flip_name(flip, sender),
        group=_GROUP,
        tried=f"a relay that changes one bit of the {sender}'s {flip.name}, and nothing else",
        source=flip.source,
        run=partial(_flipped, flip, direction),
        on_sessions=flip.in_session,
    )


ATTACKS: tuple[Attack, ...] = (
    _with_certificate(
        "relay with a self-signed certificate",
        "both sides certificates that are their own issuers",
        "RFC 5280, section 6.1",
        _self_signed,
    ),
    _with_certificate(
        "relay with a certificate of another CA",
        "both sides certificates with the right names, of a CA that nobody here knows",
        "RFC 5280, section 6.1",
        _of_another_ca,
    ),
    _with_certificate(
        "relay with the caller's certificate",
        "our client the caller's own certificate",
        "RFC 9525, section 6; RFC 5280, section 4.2.1.12",
        _our_own,
    ),
    _with_certificate(
        "relay with a server's certificate of another name",
        "our client a server's certificate of the same CA for another name",
        "RFC 9525, section 6",
        _for_another_name,
        Needs.TTP_STATE,
    ),
    _with_certificate(
        "relay with a client's certificate as the server",
        "our client a certificate with the server's name that is for clients alone",
        "RFC 5280, section 4.2.1.12",
        _of_a_client,
        Needs.TTP_STATE,
    ),
    _with_certificate(
        "relay with a server's certificate as the client",
        "the server a certificate with the caller's name that is for servers alone",
        "RFC 5280, section 4.2.1.12",
        _of_a_server,
        Needs.TTP_STATE,
    ),
    Attack(
        name="relay that passes the frames on",
        group=_GROUP,
        tried="a relay that ends TLS with both sides content, and passes the session's frames on",
        source="docs/session-protocol.md, key schedule; RFC 5929, section 3; RFC 7627, section 1",
        run=_frames_passed_on,
        on_sessions=True,
    ),
    *(_flip(flip, _from_client, "client") for flip in flips.FROM_CLIENT),
    *(_flip(flip, _from_server, "server") for flip in flips.FROM_SERVER),
)
