"""A run of the three roles as a report: `asynctls costs`."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from asynctls.config import ClientConfig
from asynctls.costs.accounting import on_one_clock
from asynctls.costs.cards import cards_of
from asynctls.costs.ends import Caller, conversation_of
from asynctls.costs.machine import machine
from asynctls.costs.operations import aes_against_rsa, timed
from asynctls.costs.report import Handshake, Report
from asynctls.costs.roles import Sending, serving_messages, serving_plain_messages, ttp
from asynctls.enrolment.keeper import Keeper
from asynctls.errors import DemoError
from asynctls.pki.keys import KeyType
from asynctls.words import key_words

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from asynctls.costs.ends import Held
    from asynctls.costs.report import Card, Conversation
    from asynctls.costs.wire import Recording, Relay

__all__ = ["COMMON_NOTES", "measure"]

COMMON_NOTES = (
    "Bytes are those of TLS records, headers included; TCP's and IP's are not among them.",
    """Segments are computed for an MTU of 1500, 1448 bytes of TLS in each. Loopback has an MTU \
of its own: how often bytes were handed on there stands beside them.""",
    """Operations are counted by the messages that need them, and timed apart from these. What \
TLS does besides (hashes, the PRF, the ticket's own encryption) is not among them.""",
)
_NOTES = (
    """All keys of a run are of one kind, the CAs' as well. A TTP's default, RSA 3072, adds \
128 bytes to each certificate that it signs.""",
    "What is counted is one run: both enrolments and one session with one message.",
)
_KEY_TYPES = (KeyType.RSA_2048, KeyType.ECDSA_P256)
_MANY = 1000
_QUIET_S = 10.0
_WHOLE_S = 120.0


async def measure(
    *, many: int = _MANY, tell: Callable[[str], None] = lambda _words: None
) -> Report:
    """Runs the three roles in this process, in a temporary folder, and accounts for all of it.

    Args:
        many: how many messages the longer conversations have.
        tell: is told in a few words what is done next.

    Raises:
        AsynctlsError: a role did not do its part.
    """
    runs: dict[str, _Run] = {}
    with tempfile.TemporaryDirectory(prefix="asynctls-costs-") as folder:
        try:
            async with asyncio.timeout(_WHOLE_S):
                for key_type in _KEY_TYPES:
                    place = Path(folder) / key_type
                    runs[key_type] = await _run(place, key_type, many=many, tell=tell)
        except TimeoutError as error:
            raise DemoError(
                f"the three roles were not done within {_WHOLE_S:g} s: is this machine busy?"
            ) from error
    tell("the operations, one by one")
    conversations = [each for run in runs.values() for each in run.conversations]
    return Report(
        made_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        machine=await asyncio.to_thread(machine),
        conversations=on_one_clock(conversations),
        operations=await asyncio.to_thread(
            timed, {key_type: run.once for key_type, run in runs.items()}, kinds=_KEY_TYPES
        ),
        aes_against_rsa=await asyncio.to_thread(aes_against_rsa),
        cards=runs[_KEY_TYPES[0]].cards,
        notes=(*COMMON_NOTES, *_NOTES),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """What the roles of one kind of key did, and the certificates that they showed."""

    conversations: list[Conversation]
    cards: tuple[Card, ...]

    @property
    def once(self) -> list[Conversation]:
        """Both enrolments, and the first session: all that it takes to send one message."""
        joining = [each for each in self.conversations if each.joins]
        return [*joining, self.conversations[0]]


async def _run(folder: Path, key_type: KeyType, *, many: int, tell: Callable[[str], None]) -> _Run:
    words = key_words(key_type)
    async with AsyncExitStack() as stack:
        tell(f"{words}: the TTP starts, server and client join")
        authority = await stack.enter_async_context(ttp(folder, key_type))
        server, server_joined = await authority.join("server")
        client, client_joined = await authority.join("client")
        keeper = await stack.enter_async_context(
            Keeper(client, crl_interval=ClientConfig().crl_interval)
        )
        sending = Sending()
        conversations = []
        for kind, serving in (("session", serving_messages), ("tls", serving_plain_messages)):
            tell(f"{words}: {'sessions' if kind == 'session' else 'TLS alone'}")
            async with serving(sending, server, allow=client.name) as relay:
                caller = Caller(
                    keeper,
                    through=relay.address,
                    address=relay.address,
                    server_name=server.name,
                    quiet_s=_QUIET_S,
                    # Else the client would close first, where the server does.
                    most=many + 1,
                )
                hold = caller.session if kind == "session" else caller.plain
                for held, recording in await _talk(hold, relay, sending, many=many):
                    conversations.append(
                        conversation_of(held, recording, kind=kind, key_type=key_type)
                    )
        return _Run(
            conversations=[*conversations, *server_joined, *client_joined],
            cards=cards_of(
                client=client.certificate,
                server=server.certificate,
                authorities=authority.authorities,
            ),
        )


async def _talk(
    hold: Callable[[ssl.SSLSession | None], Awaitable[Held]],
    relay: Relay,
    sending: Sending,
    *,
    many: int,
) -> list[tuple[Held, Recording]]:
    """Full and resumed, for one message and for many."""
    talked = []
    resume: ssl.SSLSession | None = None
    for handshake, messages in product(Handshake, (1, many)):
        sending.messages = messages
        held = await hold(resume if handshake is Handshake.RESUMED else None)
        (recording,) = await relay.take()
        if (held.resumed, held.messages) != (handshake is Handshake.RESUMED, messages):
            raise DemoError(
                f"a {handshake} handshake with {messages} messages was wanted, and there was "
                f"{'a resumed' if held.resumed else 'a full'} one with {held.messages}"
            )
        if recording.counted(by_client=True) != held.sent.bytes_by_part:
            raise DemoError("the client has sent other bytes than went over the wire")
        talked.append((held, recording))
        resume = resume or held.session
    return talked
