"""A connection to a server of others as a report: `asynctls costs --connect`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asynctls.config import ClientConfig
from asynctls.costs.accounting import on_one_clock
from asynctls.costs.cards import cards_of
from asynctls.costs.ends import Caller, conversation_of
from asynctls.costs.machine import machine
from asynctls.costs.operations import aes_against_rsa, timed
from asynctls.costs.report import Report
from asynctls.costs.run import COMMON_NOTES
from asynctls.costs.wire import relaying
from asynctls.enrolment.identity import Identity
from asynctls.enrolment.keeper import Keeper
from asynctls.errors import HandshakeError, ServerUnreachableError
from asynctls.pki.certificates import certificate_from_der, certificates_from_pem
from asynctls.pki.keys import KeyType, judge_public_key, key_type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from asynctls.config import Address
    from asynctls.costs.ends import Held
    from asynctls.costs.report import Conversation
    from asynctls.costs.wire import Relay

__all__ = ["measure_connection"]

_QUIET_S = 2.0
_WHOLE_S = 30.0
_MOST_MESSAGES = 1000
_KINDS = {"rsa": KeyType.RSA_2048, "ecdsa": KeyType.ECDSA_P256}


async def measure_connection(
    address: Address,
    *,
    server_name: str | None,
    state: Path,
    tell: Callable[[str], None] = lambda _words: None,
) -> Report:
    """Connects twice, the second time resuming, receives what comes, and accounts for that.

    Args:
        address: the server's.
        server_name: whom it must prove to be; None: any member of our TTP's.
        state: the state folder of the identity to connect with.
        tell: is told in a few words what is done next.

    Raises:
        IdentityError: there is no identity, or it cannot be used.
        ServerUnreachableError: nobody answers there, or it took too long.
        HandshakeError: we refused the server, or it us.
        SessionError: no session came about, or how it ended.
    """
    identity = await asyncio.to_thread(Identity.load, state)
    async with (
        Keeper(identity, crl_interval=ClientConfig().crl_interval) as keeper,
        relaying(address) as relay,
    ):
        caller = Caller(
            keeper,
            through=relay.address,
            address=address,
            server_name=server_name,
            quiet_s=_QUIET_S,
            most=_MOST_MESSAGES,
        )
        try:
            async with asyncio.timeout(_WHOLE_S):
                held, conversations = await _twice(caller, relay, tell)
        except TimeoutError as error:
            raise ServerUnreachableError(
                f"the server at {address} was not done within {_WHOLE_S:g} s"
            ) from error
        except HandshakeError as error:
            if relay.failure is None:
                raise
            raise relay.failure from error
    tell("the operations, one by one")
    shown = keeper.identity.certificate, held[0].peer.certificate
    kinds = _KINDS | {kind.partition("-")[0]: kind for kind in map(_kind_of, shown)}
    root, *issuing = certificates_from_pem(keeper.identity.trust.encode())
    return Report(
        made_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        machine=await asyncio.to_thread(machine),
        conversations=on_one_clock(conversations),
        operations=await asyncio.to_thread(
            timed, {conversations[0].key_type: conversations[:1]}, kinds=kinds.values()
        ),
        aes_against_rsa=await asyncio.to_thread(aes_against_rsa),
        cards=cards_of(client=shown[0], server=shown[1], authorities=(*issuing, root)),
        notes=(*_notes(address, held), *COMMON_NOTES),
    )


async def _twice(
    caller: Caller, relay: Relay, tell: Callable[[str], None]
) -> tuple[list[Held], list[Conversation]]:
    held, conversations = [], []
    resume = None
    for words in ("a full handshake", "a resumed one"):
        tell(words)
        one = await caller.session(resume)
        (recording,) = await relay.take()
        resume = one.session
        held.append(one)
        conversations.append(
            conversation_of(one, recording, kind="session", key_type=_kind_of(one.peer.certificate))
        )
    return held, conversations


def _kind_of(certificate: bytes) -> KeyType:
    return key_type_of(judge_public_key(certificate_from_der(certificate).public_key()))


def _notes(address: Address, held: Iterable[Held]) -> Iterable[str]:
    full, again = held
    yield f"These are two connections to {address}; its certificate names it {full.peer}."
    if not again.resumed:
        yield "The server did not resume the session: both handshakes are full ones."
    if not full.messages:
        yield "The server sent no message."
    yield "What is counted is the first of the two connections."
    yield """Signatures are timed with keys of the two ends' kinds; a CA whose key is longer takes \
more."""
    yield """An identity was there before, so there is no enrolment here: without --connect there \
is."""
