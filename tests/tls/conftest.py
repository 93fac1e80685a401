"""A small world of certificates, engines shaken in memory, and listeners on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.errors import AsynctlsError
from asynctls.pki.certificates import to_der, to_pem
from asynctls.pki.keys import KeyType, generate_now, key_to_pem
from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_root
from asynctls.tls import (
    Admit,
    Engine,
    Side,
    client_context,
    server_context,
)

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.alerts import Alert

ALPN = "asynctls/1"
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a test's admit function answers."""

    alert: Alert | None = None
    reason: str = ""


def let_in(certificate: bytes | None, alpn: str | None) -> Decision:
    return Decision()


def refuse(alert: Alert, reason: str = "for the test") -> Admit:
    return lambda certificate, alpn: Decision(alert, reason)


@dataclass(frozen=True, slots=True)
class Holder:
    """A certificate and its files: `chain` has the issuing CA's as well, `leaf` has not."""

    chain: Path
    leaf: Path
    key: Path
    certificate: bytes
    not_after: datetime


class World:
    """One root, one issuing CA, and whoever a test needs certificates for."""

    DAY = DAY

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        now = datetime.now(UTC)
        root_key, issuing_key = (generate_now(KeyType.ECDSA_P256) for _ in range(2))
        self.root = Issuer(make_root(root_key, lifetime=10 * DAY, now=now), root_key)
        self.issuing = Issuer(
            make_issuing(issuing_key.public_key(), issuer=self.root, lifetime=9 * DAY, now=now),
            issuing_key,
        )
        self.trust = to_pem(self.issuing.certificate, self.root.certificate)
        self.trust_file = folder / "trust.pem"
        self.trust_file.write_text(self.trust)
        self._holders: dict[object, Holder] = {}

    def holder(
        self,
        name: str,
        profile: Profile,
        *,
        key_type: KeyType = KeyType.ECDSA_P256,
        issued: timedelta = timedelta(0),
        lifetime: timedelta = DAY,
        sans: tuple[str, ...] = (),
    ) -> Holder:
        """A holder of that name; `issued` is when, counted from now."""
        which = (name, profile, key_type, issued, lifetime, sans)
        if which not in self._holders:
            key = generate_now(key_type)
            certificate = issue(
                profile,
                issuer=self.issuing,
                public_key=key.public_key(),
                sans=sans or (name,),
                lifetime=lifetime,
                now=datetime.now(UTC) + issued,
            )
            stem = f"{name}-{len(self._holders)}"
            chain, leaf, keys = (
                self.folder / f"{stem}{end}" for end in (".pem", "-leaf.pem", ".key")
            )
            chain.write_text(to_pem(certificate, self.issuing.certificate))
            leaf.write_text(to_pem(certificate))
            keys.write_bytes(key_to_pem(key))
            self._holders[which] = Holder(
                chain, leaf, keys, to_der(certificate), certificate.not_valid_after_utc
            )
        return self._holders[which]

    @property
    def server(self) -> Holder:
        return self.holder("server", Profile.SERVER)

    @property
    def client(self) -> Holder:
        return self.holder("client", Profile.CLIENT)

    @property
    def expired(self) -> Holder:
        return self.holder("late", Profile.CLIENT, issued=-DAY, lifetime=timedelta(hours=1))

    def engines(
        self,
        *,
        client: Holder | None = None,
        server: Holder | None = None,
        client_admits: Admit = let_in,
        server_admits: Admit = let_in,
        host: str = "server",
        alpn: str = ALPN,
    ) -> tuple[Engine, Engine]:
        """A client's and a server's engine, each over a context of its own."""
        client, server = client or self.client, server or self.server
        asking = client_context(trust=self.trust, chain=client.chain, key=client.key, alpn=(alpn,))
        serving = server_context(trust=self.trust, chain=server.chain, key=server.key, alpn=(ALPN,))
        return (
            Engine(asking, side=Side.CLIENT, admit=client_admits, server_hostname=host),
            Engine(serving, side=Side.SERVER, admit=server_admits),
        )


class Wire:
    """Two engines with nothing between them but a memory of what went by."""

    def __init__(self, client: Engine, server: Engine, *, chunk: int = 1 << 16) -> None:
        self.client = client
        self.server = server
        self.from_client = bytearray()
        self.from_server = bytearray()
        self._errors: dict[str, Exception | None] = {"client": None, "server": None}
        self._chunk = chunk

    def move(self) -> bool:
        """Carry what there is both ways, once; false when there was nothing."""
        to_server = self.client.data_to_send()
        to_client = self.server.data_to_send()
        self.from_client += to_server
        self.from_server += to_client
        for receiver, flight in ((self.server, to_server), (self.client, to_client)):
            for at in range(0, len(flight), self._chunk):
                receiver.receive_data(flight[at : at + self._chunk])
                if self._chunk < 1 << 16:
                    self.advance()
        return bool(to_server or to_client)

    def advance(self) -> None:
        for side, engine in (("client", self.client), ("server", self.server)):
            if self._errors[side] is None:
                try:
                    engine.handshake()
                except (AsynctlsError, ZeroDivisionError) as error:
                    self._errors[side] = error

    def shake(self) -> Wire:
        """Carry on until nobody has anything to say."""
        self.advance()
        while self.move():
            self.advance()
        return self

    @property
    def client_error(self) -> Exception | None:
        return self._errors["client"]

    @property
    def server_error(self) -> Exception | None:
        return self._errors["server"]

    @property
    def errors(self) -> tuple[Exception | None, Exception | None]:
        return self.client_error, self.server_error


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    """A plain listener on loopback; gives its port, and raises what a connection's task raised."""
    tasks: list[asyncio.Future[None]] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.ensure_future(handler(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(20):
            await asyncio.gather(*tasks)
            await server.wait_closed()


@dataclass(frozen=True, slots=True)
class Kit:
    """Everything above, for tests, which cannot import a conftest."""

    world: World
    alpn: str = ALPN
    let_in: Admit = let_in
    refuse: Callable[..., Admit] = refuse
    decision: type[Decision] = Decision
    wire: type[Wire] = Wire
    listening: Callable[[Handler], contextlib.AbstractAsyncContextManager[int]] = listening


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit(World(tmp_path_factory.mktemp("world")))


@pytest.fixture(scope="session")
def other_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A CA that nobody in the other world trusts."""
    return World(tmp_path_factory.mktemp("other"))
