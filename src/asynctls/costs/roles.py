"""The three roles as real services in this process, each behind a relay that records."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from asynctls.config import Address, ServerConfig, TTPConfig
from asynctls.costs.accounting import account
from asynctls.costs.frames import Exchanges
from asynctls.costs.report import Handshake
from asynctls.costs.wire import relaying
from asynctls.enrolment import JoinString
from asynctls.enrolment.joining import join_in_memory
from asynctls.pki.profiles import Profile
from asynctls.server.library import serving, serving_streams
from asynctls.ttp.authority import Authority
from asynctls.ttp.est import EST
from asynctls.ttp.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cryptography import x509

    from asynctls.costs.report import Conversation
    from asynctls.costs.wire import Recording, Relay
    from asynctls.enrolment import Identity
    from asynctls.http import Request, Response
    from asynctls.pki.keys import KeyType
    from asynctls.session import Session
    from asynctls.streams import PeerStream
    from asynctls.ttp.est import Asker

__all__ = ["TTP", "Sending", "serving_messages", "serving_plain_messages", "ttp"]

_ANY_PORT = Address("127.0.0.1", 0)
_TOKEN_TTL = timedelta(minutes=5)
_LIFETIME = timedelta(hours=1)
_JOIN_S = timedelta(seconds=30)
_DRAIN_S = 5.0


class _Heard(EST):
    """Answers as EST does, and remembers what was asked, by who asked."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(authority)
        self.exchanges: dict[str, list[tuple[Request, Response]]] = {}

    async def answer(self, request: Request, asker: Asker) -> Response:
        response = await super().answer(request, asker)
        self.exchanges.setdefault(asker.address, []).append((request, response))
        return response


@dataclass(frozen=True, slots=True)
class TTP:
    """A TTP that serves, and the relay that others reach it by."""

    _authority: Authority = field(repr=False)
    _relay: Relay = field(repr=False)
    _heard: _Heard = field(repr=False)
    _key_type: KeyType = field(repr=False)

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """The certificates of its CAs."""
        return self._authority.ca_certificates

    async def join(self, name: str) -> tuple[Identity, list[Conversation]]:
        """Has a role of that name join; with the account of both its connections.

        Raises:
            EnrolmentError: it did not come about.
        """
        token_id, secret = await self._authority.create_token(
            name, sans=(), profile=Profile.PEER, ttl=_TOKEN_TTL, lifetime=_LIFETIME
        )
        join_string = JoinString(
            token_id, secret, self._relay.address, name, self._authority.root_sha256
        )
        identity = await join_in_memory(join_string, key_type=self._key_type, give_up_after=_JOIN_S)
        # Those before them are of a try that came to nothing, if there was one.
        *_, first, second = await self._relay.take()
        return identity, [
            self._account(first, name, "bootstrap", f"the {name} fetches the pinned root"),
            self._account(second, name, "enrolment", f"the {name} enrols"),
        ]

    def _account(self, recording: Recording, name: str, kind: str, title: str) -> Conversation:
        return account(
            recording,
            title=title,
            kind=kind,
            key_type=self._key_type,
            handshake=Handshake.FULL,
            sent_messages=0,
            view=Exchanges(self._heard.exchanges.get(recording.near, [])),
            client=name,
            server="ttp",
        )


@asynccontextmanager
async def ttp(folder: Path, key_type: KeyType) -> AsyncIterator[TTP]:
    """A TTP with a new CA, whose keys are all of one kind, while the context lasts.

    Args:
        folder: its state folder.
        key_type: of every key.
    """
    config = TTPConfig(
        state=folder,
        listen=_ANY_PORT,
        root_key_type=key_type.value,
        issuing_key_type=key_type.value,
    )
    stopping = asyncio.Event()
    async with await Authority.open(config) as authority:
        heard = _Heard(authority)
        async with (
            Service(authority, config, est=heard).serving(stopping) as (listener, connections),
            relaying(listener.address) as relay,
        ):
            try:
                yield TTP(authority, relay, heard, key_type)
            finally:
                stopping.set()
                listener.close()
                await connections.drain(_DRAIN_S)


@dataclass(slots=True)
class Sending:
    """How many messages a server sends to whoever connects next, and which."""

    messages: int = 1
    message: bytes = ServerConfig().message.encode()

    async def to_session(self, session: Session) -> None:
        """An app: each message waits for the receipt of the one before."""
        for _ in range(self.messages):
            await session.send(self.message, receipt=True)

    async def to_stream(self, stream: PeerStream) -> None:
        """The same messages to a plain stream, where there are no receipts."""
        for _ in range(self.messages):
            stream.write(self.message)
            await stream.drain()


@asynccontextmanager
async def serving_messages(
    sending: Sending, identity: Identity, *, allow: str
) -> AsyncIterator[Relay]:
    """A server of sessions behind a relay, while the context lasts."""
    async with (
        serving(sending.to_session, str(_ANY_PORT), identity=identity, allow=[allow]) as address,
        relaying(address) as relay,
    ):
        yield relay


@asynccontextmanager
async def serving_plain_messages(
    sending: Sending, identity: Identity, *, allow: str
) -> AsyncIterator[Relay]:
    """A server of plain TLS behind a relay, while the context lasts."""
    async with (
        serving_streams(
            sending.to_stream, str(_ANY_PORT), identity=identity, allow=[allow]
        ) as address,
        relaying(address) as relay,
    ):
        yield relay
