"""Ends of messages over blocking sockets: bytes, or a session that is bare OpenSSL and frames.

What a server spends on a message hangs on how long it had to wait for it: meanwhile its caches
cool down and others run on its core. So the clients of two servers that are compared are of one
make, take the same time to answer, and are quick: `asynctls.connect` takes longer than a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.session.frames import Data
from asynctls.session.keys import binding
from asynctls.session.protocol import Protocol
from asynctls.session.states import Role

if TYPE_CHECKING:
    import socket
    import ssl
    from typing import NoReturn

    from asynctls.session.protocol import Event

__all__ = ["Echoed", "Paced", "Speaker"]

_RECORD_BYTES = 1 << 14
_TURN_BYTES = 1 << 15
_MOST_BYTES = 1 << 20


class Echoed:
    """A stream to a server that sends back what comes."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._sent = 0

    def send(self, message: bytes) -> None:
        """Sends it."""
        self._stream.sendall(message)
        self._sent += len(message)

    def receive(self) -> None:
        """Reads until all that was sent is back."""
        while self._sent:
            self._sent -= len(self._stream.recv(self._sent)) or _cut_off()


class Paced(Echoed):
    """As `Echoed`, at a `Speaker`'s pace: what that does with a frame is done here for nothing."""

    def __init__(self, stream: socket.socket) -> None:
        super().__init__(stream)
        self._client, self._server = (
            Protocol(role, bytes(32), max_message_bytes=_MOST_BYTES) for role in Role
        )
        for each, other in ((self._client, self._server), (self._server, self._client)):
            other.receive_data(_due(each))
            other.next_event()

    def send(self, message: bytes) -> None:
        """Sends it."""
        self._client.send_small(message, receipt_wanted=False)
        self._server.receive_data(_due(self._client))
        super().send(message)

    def receive(self) -> None:
        """Reads until all that was sent is back."""
        super().receive()
        self._server.next_event()


class Speaker:
    """The client's end of a session, which ends with the connection.

    Args:
        stream: connected with the client's certificate, and the session's ALPN label.
        certificate: that one, DER.
    """

    def __init__(self, stream: ssl.SSLSocket, certificate: bytes) -> None:
        server_certificate = stream.getpeercert(binary_form=True)
        tls_unique = stream.get_channel_binding("tls-unique")
        assert server_certificate is not None
        assert tls_unique is not None
        bound_to = binding(
            client_certificate=certificate,
            server_certificate=server_certificate,
            tls_unique=tls_unique,
        )
        self._stream = stream
        self._protocol = Protocol(Role.CLIENT, bound_to, max_message_bytes=_MOST_BYTES)
        self._flush()
        while not self._protocol.opened:
            self._event()

    def send(self, message: bytes) -> None:
        """Sends a message of one frame."""
        self._protocol.send_small(message, receipt_wanted=False)
        self._flush()

    def receive(self) -> bytes:
        """The next message."""
        while not isinstance(event := self._event(), Data):
            pass
        return event.payload

    def sealed(self, message: bytes, count: int) -> list[bytes]:
        """So many messages, ready for `write`: as many in each piece as a session sends at once."""
        pieces, piece = [], bytearray()
        for _ in range(count):
            self._protocol.send_small(message, receipt_wanted=False)
            piece += _due(self._protocol)
            if len(piece) >= _TURN_BYTES:
                pieces.append(bytes(piece))
                piece.clear()
        return [*pieces, bytes(piece)]

    def write(self, pieces: list[bytes]) -> None:
        """Sends what was sealed."""
        for piece in pieces:
            self._stream.sendall(piece)

    def skip(self, octets: int) -> None:
        """Reads so many bytes of frames and opens none; of what comes later none can be opened."""
        while octets > 0:
            octets -= len(self._stream.recv(_RECORD_BYTES)) or _cut_off()

    def finish_sending(self) -> None:
        """Says CLOSE."""
        self._protocol.send_close()
        self._flush()

    def _event(self) -> Event:
        while (event := self._protocol.next_event()) is None:
            self._protocol.receive_data(self._stream.recv(_RECORD_BYTES) or _cut_off())
        return event

    def _flush(self) -> None:
        self._stream.sendall(_due(self._protocol))


def _due(protocol: Protocol) -> bytes:
    return b"".join([frame for _, frame in protocol.frames_to_send()])


def _cut_off() -> NoReturn:
    raise RuntimeError("the connection ended before all was back")
