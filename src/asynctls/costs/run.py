"""A run of the three roles, or of one connection to a server, as a report."""

from __future__ import annotations

import asyncio
import platform
import ssl
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from asynctls.config import ClientConfig
from asynctls.costs.accounting import account
from asynctls.costs.cards import card_of
from asynctls.costs.ends import Caller
from asynctls.costs.operations import aes_against_rsa, measured
from asynctls.costs.report import Handshake, Report
from asynctls.costs.roles import Sending, serving_messages, serving_plain_messages, ttp
from asynctls.costs.words import key_words
from asynctls.enrolment.keeper import Keeper
from asynctls.pki.certificates import certificate_from_der
from asynctls.pki.keys import KeyType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cryptography import x509

    from asynctls.costs.ends import Held
    from asynctls.costs.report import Card, Conversation
    from asynctls.costs.wire import Recording, Relay
    from asynctls.enrolment import Identity

__all__ = ["measure"]

_KEY_TYPES = (KeyType.RSA_2048, KeyType.ECDSA_P256)
_MANY = 1000
_QUIET_S = 10.0
_KINDS = {"session": "sessions", "tls": "TLS alone"}
_NOTES = (
    "Octets are those of TLS records, headers included; TCP's and IP's are not among them.",
    """Segments are computed for an MTU of 1500, 1448 bytes of TLS in each. Loopback has an MTU \
of its own: how often bytes were handed on there stands beside them.""",
    """All keys of a run are of one kind, the CAs' as well. A TTP's default, RSA 3072, adds \
128 bytes to each certificate that it signs.""",
    """Operations are counted by the messages that need them; a run is both enrolments and one \
session with one message. The hashes and the PRF inside TLS are not among them.""",
)


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
        for key_type in _KEY_TYPES:
            runs[key_type] = await _run(Path(folder) / key_type, key_type, many=many, tell=tell)
    tell("the operations, one by one")
    operations = await asyncio.to_thread(
        measured, {key_type: run.once for key_type, run in runs.items()}
    )
    conversations = [each for run in runs.values() for each in run.conversations]
    story = runs[_KEY_TYPES[0]]
    return Report(
        made_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        machine=machine(),
        conversations=_on_one_clock(conversations),
        operations=operations,
        aes_against_rsa=await asyncio.to_thread(aes_against_rsa),
        cards=story.cards,
        notes=_NOTES,
    )


def machine() -> str:
    """What this runs on, for people: processor, system, Python and TLS library."""
    return ", ".join(
        (
            _processor(),
            f"{platform.system()} {platform.release()}",
            f"Python {platform.python_version()}",
            ssl.OPENSSL_VERSION.partition("  ")[0],
        )
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()


@dataclass(frozen=True, slots=True)
class _Run:
    """What the roles of one kind of key did, and the certificates that they showed."""

    conversations: list[Conversation]
    cards: tuple[Card, ...]

    @property
    def once(self) -> list[Conversation]:
        """Both enrolments, and the first session: all that it takes to send one message."""
        joining = [each for each in self.conversations if each.kind in ("bootstrap", "enrolment")]
        return [*joining, self.conversations[0]]


async def _run(folder: Path, key_type: KeyType, *, many: int, tell: Callable[[str], None]) -> _Run:
    words = key_words(key_type)
    async with AsyncExitStack() as stack:
        tell(f"{words}: the TTP starts, server and client join")
        authority = await stack.enter_async_context(ttp(folder, key_type))
        server, server_joined = await authority.join("server")
        client, client_joined = await authority.join("client")
        sending = Sending()
        keeper = await stack.enter_async_context(
            Keeper(client, crl_interval=ClientConfig().crl_interval)
        )
        conversations = []
        for kind, serving in (("session", serving_messages), ("tls", serving_plain_messages)):
            tell(f"{words}: {_KINDS[kind]}")
            async with serving(sending, server, allow=client.name) as relay:
                caller = Caller(
                    keeper,
                    through=relay.address,
                    address=relay.address,
                    server_name=server.name,
                    quiet_s=_QUIET_S,
                )
                hold = caller.session if kind == "session" else caller.plain
                for held, recording in await _talk(hold, relay, sending, many=many):
                    conversations.append(_account(kind, recording, held, key_type))
        return _Run(
            conversations=[*conversations, *server_joined, *client_joined],
            cards=_cards(client, server, authority.authorities),
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
        talked.append((held, recording))
        resume = resume or held.session
    return talked


def _account(kind: str, recording: Recording, held: Held, key_type: str) -> Conversation:
    handshake = Handshake.RESUMED if held.resumed else Handshake.FULL
    plural = "" if held.messages == 1 else "s"
    return account(
        recording,
        title=(
            f"{key_words(key_type)}: {'session' if kind == 'session' else 'TLS alone'}, "
            f"{handshake} handshake, {held.messages:,} message{plural}"
        ),
        kind=kind,
        key_type=key_type,
        handshake=handshake,
        sent_messages=held.messages,
        view=held.view,
    )


def _cards(
    client: Identity, server: Identity, authorities: tuple[x509.Certificate, ...]
) -> tuple[Card, ...]:
    shown = [
        ("the client's certificate", certificate_from_der(client.certificate)),
        ("the server's certificate", certificate_from_der(server.certificate)),
    ]
    for each in authorities:
        root = each.subject == each.issuer
        shown.append(("the root" if root else "the issuing CA's certificate", each))
    return tuple(card_of(title, each) for title, each in shown)


def _on_one_clock(conversations: list[Conversation]) -> tuple[Conversation, ...]:
    began = min(each.began_us for each in conversations)
    return tuple(replace(each, began_us=each.began_us - began) for each in conversations)
