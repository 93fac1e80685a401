"""A real TLS 1.2 connection whose records are made by hand from the end of its handshake on.

OpenSSL shakes hands, with our own identity, and tells the master secret as it would to a debugger;
from that come the keys (RFC 5246, section 6.3), and from then on this file encrypts and decrypts
(AES-GCM, RFC 5288). So what no TLS library sends can be said under the connection's keys: a second
ClientHello, say.
"""

from __future__ import annotations

import hmac
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asynctls.errors import HandshakeError, TruncatedError
from asynctls.probe.hellos import Hello
from asynctls.probe.offers import say

if TYPE_CHECKING:
    import asyncio

__all__ = ["ALERT", "HANDSHAKE", "TakenOver"]

ALERT: Final = 21
HANDSHAKE: Final = 22
"""Types of content (RFC 5246, section 6.2.1)."""

_HEADER_BYTES = 5
_SALT_BYTES = 4
_NONCE_BYTES = 8
_TAG_BYTES = 16
_CHUNK_BYTES = 1 << 16


class TakenOver:
    """The connection, its handshake done.

    Attributes:
        verify_data: what our Finished message held: by it a secure renegotiation is bound to this
            connection (RFC 5746, section 3.1).
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        sealing: _Direction,
        opening: _Direction,
        verify_data: bytes,
        arrived: bytes,
    ) -> None:
        self.verify_data = verify_data
        self._reader = reader
        self._writer = writer
        self._sealing = sealing
        self._opening = opening
        self._arrived = bytearray(arrived)

    @classmethod
    async def shake_hands(
        cls,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
    ) -> Self:
        """Connects by a context that nobody else uses; whoever opened the connection closes it.

        Raises:
            HandshakeError: one of the two refused the other.
            OSError: the connection was lost.
        """
        reading, writing = os.pipe()
        try:
            try:
                # A pipe, and no file: the secret is nobody else's.
                context.keylog_filename = f"/dev/fd/{writing}"
            finally:
                os.close(writing)
            shaken = await _shake_hands(reader, writer, context)
            os.set_blocking(reading, False)
            told = os.read(reading, _CHUNK_BYTES)
        finally:
            os.close(reading)
        client, server = _directions(shaken, told)
        return cls(
            reader,
            writer,
            sealing=client,
            opening=server,
            verify_data=shaken.verify_data,
            arrived=shaken.arrived,
        )

    def send(self, content: int, plaintext: bytes) -> None:
        """Sends one record under the connection's keys.

        Args:
            content: its type.
            plaintext: at most 16 KiB.

        Raises:
            OSError: the connection was lost.
        """
        say(self._writer, self._sealing.seal(content, plaintext))

    async def receive(self) -> tuple[int, bytes]:
        """The next record: its type of content, and the content.

        Raises:
            TruncatedError: the server closed the connection.
            HandshakeError: what came is not under its keys.
            OSError: the connection was lost.
        """
        header = await self._take(_HEADER_BYTES)
        content = header[0]
        return content, self._opening.open(content, await self._take(int.from_bytes(header[3:])))

    async def _take(self, octets: int) -> bytes:
        while len(self._arrived) < octets:
            received = await self._reader.read(_CHUNK_BYTES)
            if not received:
                raise TruncatedError("the server closed the connection")
            self._arrived += received
        taken = bytes(self._arrived[:octets])
        del self._arrived[:octets]
        return taken


@dataclass(frozen=True, slots=True)
class _Shaken:
    """A handshake as it went: the server's random, the suite, our Finished, what came after."""

    server_random: bytes
    cipher: str
    verify_data: bytes
    arrived: bytes


async def _shake_hands(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
) -> _Shaken:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    flight = b""
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            say(writer, outgoing.read())
            received = await reader.read(_CHUNK_BYTES)
            if not received:
                raise HandshakeError("the server closed the connection") from None
            flight += received
            incoming.write(received)
        except ssl.SSLError as error:
            raise HandshakeError(f"the handshake failed: {error.reason or error}") from error
    cipher, verify_data = tls.cipher(), tls.get_channel_binding("tls-unique")
    if cipher is None or verify_data is None:
        raise HandshakeError("the handshake was none of TLS 1.2")
    return _Shaken(Hello.read(flight).random, cipher[0], verify_data, incoming.read())


def _directions(shaken: _Shaken, keylog: bytes) -> tuple[_Direction, _Direction]:
    """Our direction and the server's, each after its Finished message."""
    # CLIENT_RANDOM <our random> <master secret>, in hex (RFC 9850, section 2).
    line = next(line for line in keylog.splitlines() if line.startswith(b"CLIENT_RANDOM "))
    client_random, master = (bytes.fromhex(word.decode()) for word in line.split()[1:])
    key_bytes = 32 if "AES256" in shaken.cipher else 16
    digest = "sha384" if shaken.cipher.endswith("SHA384") else "sha256"
    seed = b"key expansion" + shaken.server_random + client_random
    block = _expanded(master, seed, 2 * (key_bytes + _SALT_BYTES), digest)
    salts = block[2 * key_bytes :]
    return (
        _Direction(block[:key_bytes], salts[:_SALT_BYTES]),
        _Direction(block[key_bytes : 2 * key_bytes], salts[_SALT_BYTES:]),
    )


def _expanded(secret: bytes, seed: bytes, octets: int, digest: str) -> bytes:
    """P_hash (RFC 5246, section 5)."""
    expanded, a = b"", seed
    while len(expanded) < octets:
        a = hmac.digest(secret, a, digest)
        expanded += hmac.digest(secret, a + seed, digest)
    return expanded[:octets]


class _Direction:
    """The key of one direction, and the number of its next record; Finished was number 0."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._aead = AESGCM(key)
        self._salt = salt
        self._number = 1

    def seal(self, content: int, plaintext: bytes) -> bytes:
        nonce = self._number.to_bytes(_NONCE_BYTES)
        sealed = self._aead.encrypt(self._salt + nonce, plaintext, self._bound(content, plaintext))
        self._number += 1
        length = len(nonce) + len(sealed)
        return bytes((content, 3, 3)) + length.to_bytes(2) + nonce + sealed

    def open(self, content: int, body: bytes) -> bytes:
        nonce, sealed = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
        bound = self._bound(content, sealed[:-_TAG_BYTES])
        try:
            plaintext = self._aead.decrypt(self._salt + nonce, sealed, bound)
        except (InvalidTag, ValueError) as error:
            raise HandshakeError("what came was not under the connection's keys") from error
        self._number += 1
        return plaintext

    def _bound(self, content: int, plaintext: bytes) -> bytes:
        """What the tag covers beside the content (RFC 5246, section 6.2.3.3)."""
        header = bytes((content, 3, 3)) + len(plaintext).to_bytes(2)
        return self._number.to_bytes(8) + header
