"""A client's TLS sessions, resumed when it comes again to the same server (RFC 5246, section 7.3).

A resumed handshake verifies no certificate: not its chain, not its dates, not its names. So a
session is bound to all that was verified against then: it is kept with the context that it came
from, by the address and the name that were meant. It is offered only while the certificate of then
would still be admitted, so that a server that would be refused hears why in a full handshake; and
`admit` is asked after the handshake as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.enrolment.credentials import KnownPeer

if TYPE_CHECKING:
    import ssl

    from asynctls.config import Address
    from asynctls.enrolment.credentials import Credentials
    from asynctls.tls import Stream
    from asynctls.tls.sides import Admit

__all__ = ["Resuming"]

# A session takes a few KiB, its server's certificate included.
_MOST_SERVERS = 256


class Resuming:
    """What one connection to a server may resume, and what it leaves for the next one."""

    def __init__(self, credentials: Credentials, address: Address, name: str) -> None:
        """Nothing is offered yet.

        Args:
            credentials: what the connection is made with.
            address: where it leads.
            name: whom the server must prove to be.
        """
        self._known = credentials.known
        self._server = (address, name)

    def session(self, admit: Admit, alpn: str | None) -> ssl.SSLSession | None:
        """The session to offer; None: a full handshake it is.

        Args:
            admit: decides on the certificate of then by what counts now.
            alpn: the protocol that is to be agreed.
        """
        known = self._known.get(self._server)
        if known is None or admit(known.certificate, alpn).alert is not None:
            return None
        return known.session

    def keep(self, stream: Stream) -> None:
        """The handshake went well: what it agreed on is for the next one, if it is new."""
        certificate = stream.peer_certificate
        # To ask OpenSSL for a session costs as much as it does to resume one.
        if stream.resumed or certificate is None:
            return
        session = stream.ssl_session
        if session is not None:
            self.forget()
            if len(self._known) >= _MOST_SERVERS:
                # The one whose session is oldest, of a program that goes from server to server.
                del self._known[next(iter(self._known))]
            self._known[self._server] = KnownPeer(session, certificate)

    def forget(self) -> None:
        """The next handshake is a full one; after one that failed, it tells both ends more."""
        self._known.pop(self._server, None)
