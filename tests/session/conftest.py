"""Sessions without TLS: two channels joined in memory, and certificates to be bound to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from asynctls.admission import LiveAfterExpiry, Peer
from asynctls.errors import TruncatedError
from asynctls.session import ALPN, Limits, Session

_KEY = ec.generate_private_key(ec.SECP256R1())


def make_certificate(name: str, *, not_after: datetime | None = None) -> bytes:
    """A self-signed certificate, DER: a session only looks at its name and its end."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(_KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(not_after or now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(_KEY, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


class MemoryChannel:
    """One end of a connection in memory, with TCP's backpressure and TLS's two kinds of end."""

    HIGH_WATER = 64 * 1024

    def __init__(self, *, peer_certificate: bytes) -> None:
        self.peer_address = "memory"
        self.peer_certificate: bytes | None = peer_certificate
        self.tls_unique: bytes | None = b"tls-unique__"
        self.alpn: str | None = ALPN
        self.extended_master_secret = True
        self.other: MemoryChannel
        self.change: Callable[[bytes], bytes] = lambda written: written
        self.written: list[bytes] = []
        self.incoming = bytearray()
        self.clean_end = False
        self.truncated = False
        self.closed = False
        self._wake = asyncio.Event()
        self._readable: Callable[[], None] | None = None
        self._told = False

    def _notify(self) -> None:
        for end in (self, self.other):
            end._wake.set()
            if end._readable is not None and not end._told:
                end._told = True
                asyncio.get_running_loop().call_soon(end._tell)

    def _tell(self) -> None:
        self._told = False
        if self._readable is not None:
            self._readable()

    async def _change_of_state(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    async def read(self, n: int, /) -> bytes:
        while not self.incoming:
            if self.truncated:
                raise TruncatedError("the connection was cut")
            if self.clean_end:
                return b""
            await self._change_of_state()
        received = bytes(self.incoming[:n])
        del self.incoming[:n]
        self._notify()
        return received

    def deliver(self, readable: Callable[[], None], /) -> None:
        self._readable = readable

    def read_now(self, n: int, /) -> tuple[bytes | None, bool]:
        if not self.incoming:
            if self.truncated:
                raise TruncatedError("the connection was cut")
            return b"" if self.clean_end else None, False
        received = bytes(self.incoming[:n])
        del self.incoming[:n]
        self._notify()
        return received, bool(self.incoming) or self.truncated or self.clean_end

    @property
    def congested(self) -> bool:
        return len(self.other.incoming) > self.HIGH_WATER and not self.closed

    def write(self, plaintext: bytes, /) -> int:
        if self.closed:
            raise TruncatedError("the connection is closed")
        changed = self.change(plaintext)
        self.written.append(plaintext)
        self.other.incoming += changed
        self._notify()
        return len(plaintext) + 29

    async def drain(self) -> None:
        while len(self.other.incoming) > self.HIGH_WATER and not self.closed:
            if self.other.closed:
                raise TruncatedError("the connection was cut")
            await self._change_of_state()

    async def flush(self) -> None:
        while self.other.incoming and not self.closed:
            if self.other.closed:
                raise TruncatedError("the connection was cut")
            await self._change_of_state()

    def allow_stalls(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True
        self.other.clean_end = True
        self._notify()

    def abort(self) -> None:
        if not self.closed:
            self.other.truncated = True
        self.closed = True
        self._notify()


@dataclass
class Ends:
    """A client and a server, not opened yet, and the channels under them."""

    client_channel: MemoryChannel
    server_channel: MemoryChannel
    client_certificate: bytes
    server_certificate: bytes
    limits: Limits = field(default_factory=Limits)
    live_after_expiry: LiveAfterExpiry = LiveAfterExpiry.END

    def client(self, limits: Limits | None = None) -> Session:
        return Session.connect(
            self.client_channel,
            own_certificate=self.client_certificate,
            peer=Peer.of(self.client_channel.peer_certificate or b""),
            limits=limits or self.limits,
            live_after_expiry=lambda: self.live_after_expiry,
        )

    def server(self, limits: Limits | None = None) -> Session:
        return Session.accept(
            self.server_channel,
            own_certificate=self.server_certificate,
            peer=Peer.of(self.server_channel.peer_certificate or b""),
            limits=limits or self.limits,
            live_after_expiry=lambda: self.live_after_expiry,
        )


MakeEnds = Callable[..., Ends]


@pytest.fixture(scope="session")
def certificates() -> tuple[bytes, bytes]:
    """The client's and the server's."""
    return make_certificate("client"), make_certificate("server")


@pytest.fixture
def make_ends(certificates: tuple[bytes, bytes]) -> MakeEnds:
    """Makes two ends; certificates and limits can be given."""

    def make(
        *,
        client_certificate: bytes = certificates[0],
        server_certificate: bytes = certificates[1],
        limits: Limits | None = None,
        live_after_expiry: LiveAfterExpiry = LiveAfterExpiry.END,
    ) -> Ends:
        client = MemoryChannel(peer_certificate=server_certificate)
        server = MemoryChannel(peer_certificate=client_certificate)
        client.other, server.other = server, client
        return Ends(
            client,
            server,
            client_certificate,
            server_certificate,
            limits or Limits(),
            live_after_expiry,
        )

    return make


@pytest.fixture
def ends(make_ends: MakeEnds) -> Ends:
    """Two ends with ordinary limits."""
    return make_ends()


@pytest.fixture
def certificate_ending() -> Callable[..., bytes]:
    """Makes a certificate by name and not_after."""
    return make_certificate
