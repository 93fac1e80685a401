"""One TLS 1.2 connection as an object without I/O: bytes in, bytes out (RFC 5246).

An `ssl.SSLObject` over two in-memory BIOs does the cryptography. This file adds what
`ssl.SSLSocket` and asyncio's own TLS cannot do:

- **`admit` decides before our last flight leaves.** When `do_handshake()` returns on a server, its
  last flight still lies in the outgoing BIO. A refused peer gets, in place of it, one plaintext
  fatal alert that says exactly why. A client does the same before its certificate leaves (the
  server's came in the clear, and OpenSSL has verified it by then), and asks again with what
  OpenSSL says after each handshake, resumed or not.
- **OpenSSL's own refusals reach the peer**, and are told to us in words, with the certificate that
  the peer showed.
- **Each direction ends by itself**: data that were on their way when we sent close_notify can
  still be read, and a FIN without close_notify is told apart from one with it.
- Bytes are counted by part in both directions, by the scanners of `records`.

In a resumed handshake a server's last flight leaves before the peer's (RFC 5246, section 7.3).
Who is refused there can no longer be told: nothing is sent, and `PeerRefusedError` is raised while
`resumed` is true.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from asynctls.alerts import Alert
from asynctls.errors import AsynctlsError, HandshakeError, PeerRefusedError, TruncatedError
from asynctls.tls.incoming import MOST_IN_BIO_BYTES, Incoming
from asynctls.tls.reasons import explain_failure, explain_handshake, explain_silence, is_damage
from asynctls.tls.records import Octets, Scanner
from asynctls.tls.sides import Side

if TYPE_CHECKING:
    from typing import NoReturn

    from asynctls.tls.hellos import ClientHello
    from asynctls.tls.sides import Admit

__all__ = ["Engine"]

_MAX_PLAINTEXT_BYTES = 1 << 14


class Engine:
    """The TLS state machine of one connection.

    Hand in what arrives by `receive_data`, call `handshake` until it is true, then `read`, `write`
    and `close_notify` as you like. After each of these calls, and also after one that raised, send
    what `data_to_send` gives.

    Args:
        context: from `contexts`.
        side: which end we are.
        admit: decides on the peer; it is held until the handshake is done.
        server_hostname: client only: the host that the server must prove to be (RFC 9525), and the
            server name that it is told (RFC 6066); None only with a context that checks no host.
        session: client only: a session to resume. One of another context is left aside.

    Raises:
        HandshakeError: `server_hostname` cannot be a host's name, or is missing.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        side: Side,
        admit: Admit,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        if server_hostname is None and context.check_hostname:
            # wrap_bio() would take this for leave to check no name at all.
            raise HandshakeError("there is no host name to hold the server's certificate against")
        self._side = side
        self._admit = admit
        self._server_hostname = server_hostname
        self._sent = Scanner()
        self._received = Scanner()
        self.sent = self._sent.meter
        """Bytes given by `data_to_send`, by part."""
        self.received = self._received.meter
        """Bytes taken by `receive_data`, by part."""
        self._incoming = Incoming(self._received)
        self._outgoing = ssl.MemoryBIO()
        try:
            self._tls = context.wrap_bio(
                self._incoming.bio,
                self._outgoing,
                server_side=side is Side.SERVER,
                server_hostname=server_hostname,
            )
            if session is not None:
                with suppress(ValueError):
                    self._tls.session = session
        except ValueError as error:
            raise HandshakeError(
                f"{server_hostname!r} cannot be a server's host name: {error}"
            ) from error
        self.to_send: list[bytes] = []
        self._hello_sent = False
        self._judged: bytes | None = None
        self._done = False
        self._read_ahead = bytearray()
        self._fin = False
        self._close_notify_sent = False
        self._failure: AsynctlsError | None = None
        self.ended = False
        """The peer's direction has ended, by its close_notify."""
        self.damaged = False
        """A record of the peer's did not verify: it was changed on the way."""

    # Bytes on the wire

    def receive_data(self, received: Octets) -> None:
        """Take what arrived from the peer; `b""` is its FIN."""
        if received:
            self._incoming.write(received)
        else:
            # OpenSSL is not told: to it an EOF ends both directions, and ours may go on.
            self._fin = True

    def data_to_send(self) -> bytes:
        """What is to be sent now, given once; `b""` for nothing."""
        flight = b"".join(self.to_send)
        self.to_send.clear()
        return flight

    def _collect(self) -> int:
        if not self._outgoing.pending:
            return 0
        flight = self._outgoing.read()
        self._sent.feed(flight)
        self.to_send.append(flight)
        return len(flight)

    # Handshake

    def handshake(self) -> bool:
        """Go on with the handshake; true when it is done and the peer is let in.

        Raises:
            PeerRefusedError: we refused the peer, by `admit` or because OpenSSL did.
            RefusedByPeerError: the peer sent a fatal alert.
            HandshakeError: the peer went away, or what it sent is not TLS.
        """
        if self._failure is not None:
            raise self._failure
        if self._done:
            return True
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._before_the_flight()
            self._collect()
            if self._incoming.more():
                return self.handshake()
            if self._fin:
                self._fail(explain_silence(self._received, self._sent))
            return False
        except ssl.SSLError as error:
            self._collect()
            failure = explain_handshake(
                error,
                received=self._received,
                sent=self._sent,
                server_hostname=self._server_hostname,
            )
            self._fail(failure, error)
        self._after_the_handshake()
        self._collect()
        self._sent.forget_certificates()
        self._received.forget_certificates()
        del self._admit
        self._done = True
        return True

    def _before_the_flight(self) -> None:
        """A client decides on the server while its own certificate is still here."""
        if self._side is Side.SERVER or not self._outgoing.pending:
            return
        if not self._hello_sent:
            self._hello_sent = True
            return
        hello = self._received.server_hello
        self._judged = self._received.certificate
        self._decide(self._judged, hello.alpn if hello else None, can_tell=True)

    def _after_the_handshake(self) -> None:
        certificate = self._tls.getpeercert(binary_form=True)
        # Whoever finishes first has sent its last flight before it could decide.
        can_tell = (self._side is Side.SERVER) != self.resumed
        if self._judged is not None and self._judged != certificate:
            self._refuse(
                Alert.INTERNAL_ERROR,
                "the certificate that was judged is not the one that was verified",
                certificate=certificate,
                can_tell=can_tell,
            )
        self._decide(certificate, self.alpn, can_tell=can_tell)

    def _decide(self, certificate: bytes | None, alpn: str | None, *, can_tell: bool) -> None:
        try:
            verdict = self._admit(certificate, alpn)
        except BaseException:
            # A fault of ours must let nobody in: the flight stays here for good.
            self._throw_away(Alert.INTERNAL_ERROR, can_tell=can_tell)
            self._failure = HandshakeError("no decision on the peer could be made")
            raise
        if verdict.alert is not None:
            self._refuse(verdict.alert, verdict.reason, certificate=certificate, can_tell=can_tell)

    def _refuse(
        self, alert: Alert, reason: str, *, certificate: bytes | None, can_tell: bool
    ) -> NoReturn:
        self._throw_away(alert, can_tell=can_tell)
        self._fail(PeerRefusedError(alert, reason, certificate=certificate, told=can_tell))

    def _throw_away(self, alert: Alert, *, can_tell: bool) -> None:
        self._outgoing.read()
        if can_tell:
            record = bytes((21, 3, 3, 0, 2, 2, alert))
            self._sent.feed(record)
            self.to_send.append(record)

    def _fail(self, failure: AsynctlsError, cause: Exception | None = None) -> NoReturn:
        self._failure = failure
        raise failure from cause

    # Application data

    def read(self, n: int) -> bytes | None:
        """At most `n` bytes (1 or more) from the peer: a record, and more behind full ones.

        `b""` is the clean end of the peer's direction (its close_notify), None means that more
        must be received first.

        Raises:
            TruncatedError: the peer's direction ended in any other way.
        """
        if n < 1:
            raise ValueError(f"{n} bytes cannot be read: b'' would look like the end")
        if not self._read_ahead:
            records = self._decrypt(n // _MAX_PLAINTEXT_BYTES or 1, least=_MAX_PLAINTEXT_BYTES)
            plaintext = b"".join(records)
            if 0 < len(plaintext) <= n:
                return plaintext
            self._read_ahead += plaintext
        if self._read_ahead:
            taken = bytes(self._read_ahead[:n])
            del self._read_ahead[:n]
            return taken
        if self._failure is not None:
            raise self._failure
        if self._fin and not self.ended:
            raise TruncatedError(
                "the peer closed the connection without saying that it had sent all "
                "(no close_notify): what arrived may not be all that was sent"
            )
        return b"" if self.ended else None

    def decrypt(self, received: memoryview, *, most: int) -> tuple[bytes, bool]:
        """Take what arrived, and give the data in the records that are there in full.

        Those are `most` at most; the other half of the answer is whether they were all. If not,
        they come first: by `read`, or here before anything more is received. What ends them is for
        `read` to tell, see `has_word`.
        """
        lent = len(received) > MOST_IN_BIO_BYTES
        if received:
            (self._incoming.lend if lent else self._incoming.write)(received)
        records = self._decrypt(most)
        if lent:
            # After an end nobody asks for what follows it.
            self._incoming.give_back(keep=not self.ended and self._failure is None)
        all_read = len(records) < most
        if self._read_ahead:
            records.insert(0, bytes(self._read_ahead))
            self._read_ahead.clear()
        return b"".join(records), all_read

    @property
    def has_word(self) -> bool:
        """The peer's direction has ended or failed, or OpenSSL itself has an answer to send."""
        return self.ended or self._failure is not None or bool(self.to_send)

    @property
    def dry(self) -> bool:
        """Nothing that was received waits to be read; never again where there is a last word."""
        return not (self._incoming.more() or self._read_ahead or self.has_word)

    def _decrypt(self, most: int, *, least: int = 0) -> list[bytes]:
        """The data of so many records, each whole, or until one has less than `least` bytes of it.

        `read` tells what ends them.
        """
        records: list[bytes] = []
        if self.ended or self._failure is not None:
            return records
        read, more = self._tls.read, self._incoming.more
        # To ask where there is nothing costs more than to ask for a record: an exception.
        while len(records) < most and more():
            try:
                plaintext = read(_MAX_PLAINTEXT_BYTES)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLZeroReturnError:
                plaintext = b""
            except ssl.SSLError as error:
                self.damaged = is_damage(error)
                self._failure = explain_failure(error)
                self._failure.__cause__ = error
                break
            if not plaintext:
                self.ended = True
                break
            records.append(plaintext)
            if len(plaintext) < least:
                break
        self._collect()
        return records

    def write(self, plaintext: Octets) -> int:
        """Encrypt; returns the TLS bytes that this added to what is to be sent.

        Raises:
            RuntimeError: before the handshake, or after our close_notify.
            TruncatedError: the connection has failed.
        """
        if not self._done or self._close_notify_sent:
            raise RuntimeError("written before the handshake was done or after close_notify")
        if self._failure is not None:
            raise self._failure
        produced, left = 0, plaintext
        try:
            while left:
                # A BIO keeps the size that it once had to have. A part of more is of full records.
                fits = len(left) <= MOST_IN_BIO_BYTES
                part = left if fits else memoryview(left)[: 4 * _MAX_PLAINTEXT_BYTES]
                taken = self._tls.write(part)
                produced += self._collect()
                left = b"" if taken == len(left) else memoryview(left)[taken:]
        except ssl.SSLError as error:
            self._fail(explain_failure(error), error)
        return produced

    def close_notify(self) -> None:
        """End our direction (RFC 5246, section 7.2.1); the peer's can still be read to its end."""
        if not self._done or self._close_notify_sent:
            return
        self._close_notify_sent = True
        # SSL_shutdown() takes data that it meets for a fault and fails the connection over it, so
        # what has arrived is read out of its way first; no more than was handed in.
        while records := self._decrypt(1):
            self._read_ahead += records[0]
        if self._failure is None:
            try:
                self._tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self._failure = explain_failure(error)
                self._failure.__cause__ = error
        self._collect()

    # Facts

    @property
    def peer_certificate(self) -> bytes | None:
        """The certificate (DER) of a peer that was let in; None before that, or without one."""
        return self._tls.getpeercert(binary_form=True) if self._done else None

    @property
    def shown_certificate(self) -> bytes | None:
        """The certificate (DER) that the peer showed in this handshake, verified or not."""
        return self._received.certificate or (None if self.resumed else self.peer_certificate)

    @property
    def client_hello(self) -> ClientHello | None:
        """What the client offered; None once its direction is encrypted."""
        return (self._received if self._side is Side.SERVER else self._sent).client_hello

    @property
    def alpn(self) -> str | None:
        """The application protocol agreed on (RFC 7301)."""
        return self._tls.selected_alpn_protocol()

    @property
    def version(self) -> str | None:
        """The protocol version agreed on, as OpenSSL names it: `TLSv1.2`."""
        return self._tls.version()

    @property
    def cipher(self) -> str | None:
        """The cipher suite agreed on, as OpenSSL names it."""
        agreed = self._tls.cipher()
        return agreed[0] if agreed else None

    @property
    def tls_unique(self) -> bytes | None:
        """RFC 5929's channel binding `tls-unique` (12 bytes); None before the handshake is done."""
        return self._tls.get_channel_binding("tls-unique") if self._done else None

    @property
    def resumed(self) -> bool:
        """The handshake resumed an earlier session, so that OpenSSL verified no certificate."""
        return bool(self._tls.session_reused)

    @property
    def extended_master_secret(self) -> bool:
        """The master secret is bound to the handshake (RFC 7627), by the ServerHello's word."""
        scanner = self._sent if self._side is Side.SERVER else self._received
        return scanner.server_hello is not None and scanner.server_hello.extended_master_secret

    @property
    def ssl_session(self) -> ssl.SSLSession | None:
        """The session, for a client to resume by a later engine of the same context."""
        return self._tls.session
