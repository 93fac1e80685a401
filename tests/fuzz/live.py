"""The three roles as processes, what is tried on each of them, and how they fare."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asynctls as library
from asynctls.config import Address
from asynctls.enrolment import JoinString, join
from asynctls.pki.keys import KeyType
from asynctls.session import ALPN
from asynctls.session.states import Role
from asynctls.tls import client_context, client_context_for_any_host
from tests.fuzz.attempts import change_one_flight, connected, say_changed_frames
from tests.fuzz.catalogue import target
from tests.fuzz.evil_server import EvilServer
from tests.fuzz.mutations import changed
from tests.fuzz.tls_mutations import changed_flight
from tests.ports import free_port
from tests.roles.tunnelling import Backend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from asynctls.enrolment import Identity
    from tests.roles.processes import Daemons, Process

__all__ = ["Held", "Live", "live"]

_WORDS: Final = b"asynctls fuzzing"
_PATHS: Final = (b"/.well-known/est/cacerts", b"/.well-known/est/csrattrs", b"/crl", b"/healthz")
# asyncio's own checks would take most of the time.
_QUICK: Final = {"PYTHONASYNCIODEBUG": ""}
_SERVER: Final = """
[server]
allow = ["client"]
[[server.tunnel]]
app = "echo"
listen = "%(echo)s"
[[server.tunnel]]
app = "forward:%(backend)s"
listen = "%(raw)s"
[[server.tunnel]]
app = "forward:%(backend)s"
listen = "%(session)s"
session = true
"""
_CLIENT: Final = """
[client]
server_name = "server"
[[client.tunnel]]
listen = "%(raw)s"
connect = "%(raw_server)s"
[[client.tunnel]]
listen = "%(session)s"
connect = "%(session_server)s"
session = true
"""
# The cheap ones more often: no key is used for them.
_OFTEN: Final = 3


@dataclass
class Live:
    """The daemons while they run.

    Attributes:
        processes: by name.
        tried: how many attempts of each kind there were.
    """

    processes: dict[str, Process]
    ttp: Address
    status: Address
    server: Address
    metrics: Address
    tunnels: tuple[Address, ...]
    client: Identity
    evil: EvilServer
    tried: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chain, key = self.client.certificate_file, self.client.key_file
        self._mutual = client_context(trust=self.client.trust, chain=chain, key=key, alpn=[ALPN])
        self._anonymous = client_context_for_any_host(trust=self.client.trust)
        self._known = client_context_for_any_host(trust=self.client.trust, chain=chain, key=key)
        self._requests = _requests()
        kinds: tuple[tuple[Callable[[random.Random], Awaitable[None]], int], ...] = (
            (self._hello, _OFTEN),
            (self._plain_request, _OFTEN),
            (self._flight, 1),
            (self._frames, 1),
            (self._request, 1),
            (self._answer, 1),
        )
        self._kinds = [kind for kind, often in kinds for _ in range(often)]

    async def attempt(self, number: int) -> None:
        """One attempt, which its number alone decides."""
        chance = random.Random(number)
        kind = chance.choice(self._kinds)
        name = kind.__name__.strip("_")
        self.tried[name] = self.tried.get(name, 0) + 1
        with contextlib.suppress(ConnectionError):
            await kind(chance)

    async def _hello(self, chance: random.Random) -> None:
        """A ClientHello alone, to whoever takes one."""
        async with connected(chance.choice((self.server, self.ttp))) as connection:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = self._mutual.wrap_bio(incoming, outgoing, server_hostname="server")
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            await connection.say(changed_flight(outgoing.read(), chance))

    async def _flight(self, chance: random.Random) -> None:
        """A handshake by a certificate, with a flight or what follows it changed."""
        address = chance.choice((self.server, self.ttp))
        async with connected(address) as connection:
            connection.change = change_one_flight(chance, 3)
            if await connection.shake_hands(self._to(address), server_side=False, name="server"):
                await connection.say(_WORDS)

    async def _frames(self, chance: random.Random) -> None:
        """A session with a frame changed."""
        async with connected(self.server) as connection:
            if await connection.shake_hands(self._mutual, server_side=False, name="server"):
                await say_changed_frames(connection, Role.CLIENT, self.client.certificate, chance)

    async def _request(self, chance: random.Random) -> None:
        """HTTP requests to the TTP, over TLS, changed."""
        async with connected(self.ttp) as connection:
            if await connection.shake_hands(
                chance.choice((self._anonymous, self._known)), server_side=False
            ):
                for _ in range(chance.randint(1, 3)):
                    await connection.say(changed(chance.choice(self._requests), chance))

    async def _plain_request(self, chance: random.Random) -> None:
        """The same in the clear, where that is spoken."""
        async with connected(chance.choice((self.status, self.metrics))) as connection:
            await connection.say(changed(chance.choice(self._requests), chance))

    async def _answer(self, chance: random.Random) -> None:
        """A client's handshake and session with a server that is not what it should be."""
        with self.evil.doing(chance):
            async with connected(chance.choice(self.tunnels)) as connection:
                await connection.say(_WORDS)

    def _to(self, address: Address) -> ssl.SSLContext:
        return self._mutual if address == self.server else self._known

    async def serves(self) -> None:
        """Each of them serves whoever keeps to the rules."""
        async with asyncio.timeout(60):
            async with library.connect(
                str(self.server), server_name="server", identity=self.client
            ) as session:
                await session.send(_WORDS, receipt=True)
                assert await session.receive() == _WORDS
            for address, context in (
                (self.ttp, self._anonymous),
                (self.status, None),
                (self.metrics, None),
            ):
                await _get(address, context)
            for tunnel in self.tunnels:
                reader, writer = await asyncio.open_connection(tunnel.host, tunnel.port)
                writer.write(_WORDS)
                writer.write_eof()
                assert (await reader.read()).endswith(_WORDS)
                writer.close()
                await writer.wait_closed()

    def check_logs(self) -> None:
        """None has met with what it did not foresee; forgets what is as it should be."""
        for name, process in self.processes.items():
            assert process.process.returncode is None, f"{name} has ended: {process.said}"
            for event in process.events:
                assert "exception" not in event, (name, event)
                assert event["level"] not in ("error", "critical"), (name, event)
            assert not any("Traceback" in line for line in process.said), (name, process.said)
            process.events.clear()
            process.said.clear()


async def _get(address: Address, context: ssl.SSLContext | None) -> None:
    """Asks for what each of them serves."""
    name = "ttp" if context else None
    reader, writer = await asyncio.open_connection(
        address.host, address.port, ssl=context, server_hostname=name
    )
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 404")
    writer.close()
    await writer.wait_closed()


def _requests() -> tuple[bytes, ...]:
    """Good requests, and what else has been of use in fuzzing requests without a network."""
    csr = target("requests").module.seeds()["plain"]
    body = base64.b64encode(csr)
    head = b"Host: a\r\nContent-Type: application/pkcs10\r\nContent-Length: %d\r\n" % len(body)
    token = b"Authorization: Basic " + base64.b64encode(b"0123456789ab:secret") + b"\r\n"
    ocsp = target("ocsp_requests").module.seeds()
    asked = ocsp["sha256"]
    return (
        *(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in _PATHS),
        b"GET /ocsp/%b HTTP/1.1\r\nHost: a\r\n\r\n" % ocsp["url"],
        b"POST /ocsp HTTP/1.1\r\nHost: a\r\nContent-Type: application/ocsp-request\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(asked), asked),
        b"POST /.well-known/est/simpleenroll HTTP/1.1\r\n%b%b\r\n%b" % (token, head, body),
        b"POST /.well-known/est/simplereenroll HTTP/1.1\r\n%b\r\n%b" % (head, body),
        *(sent[4:] for sent in target("http_requests").module.seeds().values()),
    )


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds: descriptors, and megabytes of memory."""

    descriptors: int
    megabytes: int

    @classmethod
    def by(cls, process: Process) -> Held:
        """What ``process`` holds now; nothing is known of that where there is no /proc."""
        folder = Path("/proc") / str(process.process.pid)
        if not folder.exists():
            return cls(0, 0)
        pages = int((folder / "statm").read_text().split()[1])
        return cls(len(list((folder / "fd").iterdir())), pages * 4096 >> 20)


@contextlib.asynccontextmanager
async def live(daemons: Daemons, folder: Path) -> AsyncIterator[Live]:
    """Starts them, on loopback, with what they need."""
    keys = ("--root-key-type", "ecdsa-p256", "--issuing-key-type", "ecdsa-p256")
    ttp = await daemons.start(
        *("ttp", "--state", folder / "ttp", *keys),
        *("--listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0"),
        environ=_QUICK,
    )
    await ttp.event("listening")
    server, evil = await _joined(daemons, folder, "server", "server", "evil")
    (client,) = await _joined(daemons, folder, "client", "client")
    evil_server = EvilServer(evil)
    async with contextlib.AsyncExitStack() as stack:
        backend = await stack.enter_async_context(Backend().at())
        honest = {each: Address("127.0.0.1", free_port()) for each in ("echo", "raw", "session")}
        started = await daemons.start(
            *("server", "--state", server.folder, "--metrics-listen", "127.0.0.1:0"),
            *("--config", _written(folder / "server.toml", _SERVER, **honest, backend=backend)),
            environ=_QUICK,
        )
        await started.event("listening", count=len(honest))
        tunnels = {each: Address("127.0.0.1", free_port()) for each in ("raw", "session")}
        beside = {
            f"{each}_server": await stack.enter_async_context(evil_server.beside(honest[each]))
            for each in tunnels
        }
        half = await daemons.start(
            *("client", "--state", client.folder),
            *("--config", _written(folder / "client.toml", _CLIENT, **tunnels, **beside)),
            environ=_QUICK,
        )
        await half.event("listening", count=len(tunnels))
        yield Live(
            processes={"ttp": ttp, "server": started, "client": half},
            ttp=_address(ttp, "listening"),
            status=_address(ttp, "status served"),
            server=honest["echo"],
            metrics=_address(started, "metrics served"),
            tunnels=tuple(tunnels.values()),
            client=client,
            evil=evil_server,
        )


async def _joined(daemons: Daemons, folder: Path, name: str, *folders: str) -> list[Identity]:
    token = await daemons.run(
        *("ttp", "token", name, "--state", folder / "ttp", "--uses", str(len(folders)))
    )
    join_string = JoinString.parse(token.out.decode())
    give_up_after = timedelta(seconds=30)
    return [
        await join(
            folder / each, join_string, key_type=KeyType.ECDSA_P256, give_up_after=give_up_after
        )
        for each in folders
    ]


def _written(path: Path, config: str, **places: object) -> Path:
    path.write_text(config % places)
    return path


def _address(process: Process, event: str) -> Address:
    return Address.parse(str(process.named(event)[0]["address"]))
