"""The client's end of a connection that is accounted for: what it says of it that a wire cannot."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asynctls.admission import Admitted, Anyone, Peer, Refused, admit
from asynctls.client.connecting import open_connection
from asynctls.client.refusals import explained
from asynctls.config import ClientConfig
from asynctls.costs.accounting import account
from asynctls.costs.frames import Frames, Overhearing, Plain
from asynctls.costs.report import Handshake
from asynctls.errors import HandshakeError
from asynctls.pki.names import NameKind, kind_of
from asynctls.session import ALPN, Session
from asynctls.tls import Stream
from asynctls.words import key_words, number_words

if TYPE_CHECKING:
    import ssl

    from asynctls.admission import Rules
    from asynctls.config import Address
    from asynctls.costs.frames import View
    from asynctls.costs.report import Conversation
    from asynctls.costs.wire import Recording
    from asynctls.enrolment.keeper import Keeper
    from asynctls.tls import Engine, Gate
    from asynctls.tls.records import Meter, Octets

__all__ = ["Caller", "Held", "conversation_of"]

_CONNECT_S = ClientConfig().connect_timeout.total_seconds()


@dataclass(frozen=True, slots=True)
class Held:
    """A connection that was held to its end.

    Attributes:
        peer: the server.
        resumed: whether the handshake really resumed a session.
        messages: how many came.
        view: of the encrypted records.
        session: to resume it by.
        sent: TLS bytes by part, as the stream counted them.
        received: likewise.
    """

    peer: Peer
    resumed: bool
    messages: int
    view: View
    session: ssl.SSLSession | None
    sent: Meter
    received: Meter


class _Overheard(Stream):
    """A stream that notes the frames on it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        engine: Engine,
        *,
        keepalive_s: float,
        gate: Gate | None = None,
    ) -> None:
        super().__init__(reader, writer, engine, keepalive_s=keepalive_s, gate=gate)
        self.said = Overhearing()
        self.heard = Overhearing()

    def write(self, plaintext: Octets) -> int:
        produced = super().write(plaintext)
        self.said.take(bytes(plaintext))
        return produced

    async def read(self, n: int = 1 << 16) -> bytes:
        plaintext = await super().read(n)
        self.heard.take(plaintext)
        return plaintext

    def read_now(self, n: int = 1 << 16) -> tuple[bytes | None, bool]:
        plaintext, more = super().read_now(n)
        self.heard.take(plaintext or b"")
        return plaintext, more


class Caller:
    """Connects to one server by one identity, and receives what it sends.

    Args:
        keeper: the identity and the CRLs.
        through: the relay that leads to the server.
        address: the server's own, for messages.
        server_name: whom it must prove to be; None: any member of our TTP's.
        quiet_s: after how long without a message there will be no more.
        most: how many messages are received at the most.
    """

    def __init__(
        self,
        keeper: Keeper,
        *,
        through: Address,
        address: Address,
        server_name: str | None,
        quiet_s: float,
        most: int,
    ) -> None:
        self._keeper = keeper
        self._through = through
        self._address = address
        self._server_name = server_name
        self._quiet_s = quiet_s
        self._most = most

    async def session(self, resume: ssl.SSLSession | None = None) -> Held:
        """Opens a session and receives until the server closes, is quiet, or has sent enough.

        Raises:
            ServerUnreachableError: nobody answers there.
            HandshakeError: we refused the server, or it us.
            SessionError: the session did not come about, or how it ended.
        """
        stream, own_certificate = await self._connect(ALPN, resume)
        peer = _peer_of(stream)
        messages = 0
        async with Session.connect(stream, own_certificate=own_certificate, peer=peer) as session:
            try:
                while messages < self._most:
                    async with asyncio.timeout(self._quiet_s):
                        await anext(session)
                    messages += 1
            except (StopAsyncIteration, TimeoutError):
                pass
        view = Frames(sent=stream.said.frames, received=stream.heard.frames)
        return _held(stream, peer, messages, view)

    async def plain(self, resume: ssl.SSLSession | None = None) -> Held:
        """Opens a plain stream and reads it to its end; errors as for `session`.

        A read gives one record, and the servers of a run send each message in one.
        """
        stream, _ = await self._connect(None, resume)
        messages = 0
        try:
            while messages < self._most:
                async with asyncio.timeout(self._quiet_s):
                    if not await stream.read():
                        break
                messages += 1
        except TimeoutError:
            pass
        finally:
            await stream.close()
        return _held(stream, _peer_of(stream), messages, Plain())

    async def _connect(
        self, alpn: str | None, resume: ssl.SSLSession | None
    ) -> tuple[_Overheard, bytes]:
        name = self._server_name
        is_uri = name is not None and kind_of(name) is NameKind.URI

        def rules() -> Rules:
            return self._keeper.rules(Anyone(), alpn=alpn, server_uri=name if is_uri else None)

        def decide(certificate: bytes | None, agreed: str | None) -> Admitted | Refused:
            return admit(certificate, agreed, now=datetime.now(UTC), rules=rules())

        if name is None or is_uri:
            credentials = await self._keeper.client_credentials_for_any_host(alpn=alpn)
        else:
            credentials = await self._keeper.client_credentials(alpn=alpn)
        reader, writer = await open_connection(self._through, timeout_s=_CONNECT_S)
        try:
            stream = await _Overheard.connect(
                reader,
                writer,
                credentials.context,
                server_hostname=None if is_uri else name,
                admit=decide,
                timeout_s=_CONNECT_S,
                session=resume,
            )
        except HandshakeError as error:
            raise explained(
                error, address=self._address, identity=self._keeper.identity, name=name
            ) from error
        return stream, credentials.certificate


def conversation_of(held: Held, recording: Recording, *, kind: str, key_type: str) -> Conversation:
    """The account of a connection that was held, as the relay recorded it."""
    handshake = Handshake.RESUMED if held.resumed else Handshake.FULL
    what = "session" if kind == "session" else "TLS alone"
    plural = "" if held.messages == 1 else "s"
    return account(
        recording,
        title=(
            f"{key_words(key_type)}: {what}, {handshake} handshake, "
            f"{number_words(held.messages)} message{plural}"
        ),
        kind=kind,
        key_type=key_type,
        handshake=handshake,
        sent_messages=held.messages,
        view=held.view,
    )


def _peer_of(stream: Stream) -> Peer:
    if stream.peer_certificate is None:
        raise RuntimeError("a server without a certificate was admitted")
    return Peer.of(stream.peer_certificate)


def _held(stream: Stream, peer: Peer, messages: int, view: View) -> Held:
    return Held(
        peer=peer,
        resumed=stream.resumed,
        messages=messages,
        view=view,
        session=stream.ssl_session,
        sent=stream.sent,
        received=stream.received,
    )
