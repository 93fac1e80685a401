"""The three roles as processes for a soak: a TTP, a server, a client that follows, a tunnel's end.

All certificates are of seconds, so that each role renews its own again and again.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asynctls.config import Address, TTPConfig
from asynctls.enrolment import JoinString
from asynctls.pki.profiles import Profile
from asynctls.ttp.authority import Authority
from tests.soak.samples import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta
    from pathlib import Path

    from tests.roles.processes import Daemons, Process

__all__ = ["Fleet"]

# It writes down each message that it takes, by its first word, sends it back, and writes down what
# it sent once it has the receipt.
_APP = """
async def answer(session):
    with (
        open("taken", "ab", buffering=0) as taken,
        open("acknowledged", "ab", buffering=0) as acknowledged,
    ):
        async for message in session:
            name = message.partition(b" ")[0]
            taken.write(name + b"\\n")
            await session.send(message, receipt=True)
            acknowledged.write(name + b"\\n")
"""
_USES = 100_000
_ANYWHERE = "127.0.0.1:0"
_METRICS = ("--metrics-listen", _ANYWHERE)


class Fleet:
    """What runs, and where.

    Attributes:
        authority: beside the TTP, for what an admin does.
        watch: what the processes say of themselves.
        server_at: where sessions are served.
        tunnel_at: where a local program finds the tunnel.
        client: the process that follows.
        printed: what it wrote to standard output, once all has ended.
    """

    authority: Authority
    server_at: str
    tunnel_at: str
    client: Process
    printed: bytes = b""

    def __init__(self, asynctls: Daemons, home: Path, *, lifetime: timedelta) -> None:
        """Nothing runs yet.

        Args:
            asynctls: starts processes, in ``home``.
            home: their working folder.
            lifetime: of every certificate.
        """
        self.watch = Watch()
        self._asynctls = asynctls
        self._home = home
        self._lifetime = lifetime
        self._ttp_at = Address("127.0.0.1", 0)
        self._processes: dict[str, Process] = {}

    def __getitem__(self, role: str) -> Process:
        return self._processes[role]

    def named(self, event: str) -> int:
        """How often the processes logged it."""
        return sum(len(each.named(event)) for each in self._processes.values())

    async def token(self, name: str) -> JoinString:
        """For as many identities of that name as a soak needs."""
        token_id, secret = await self.authority.create_token(
            name,
            profile=Profile.PEER,
            ttl=self._lifetime * _USES,
            lifetime=self._lifetime,
            uses=_USES,
        )
        return JoinString(token_id, secret, self._ttp_at, name, self.authority.root_sha256)

    @asynccontextmanager
    async def running(self, echo: Address, *, allow: tuple[str, ...]) -> AsyncIterator[None]:
        """All of them; stopped in order at the end, the ledger's chain verified.

        Args:
            echo: what the tunnel leads to.
            allow: who may come to the server besides.
        """
        (self._home / "answering.py").write_text(_APP)
        config = TTPConfig(state=self._home / "ttp")
        ttp, address = await self._asynctls.ttp(config.state, *_METRICS)
        self._ttp_at = Address.parse(address)
        await self._watched("ttp", ttp)
        async with await Authority.beside(config) as self.authority:
            await self._start_server(echo, ("follower", "tunnel", *allow))
            await self._start_clients()
            yield
            await self.client.give(b"", end=True)
            for role in ("client", "tunnel", "server", "ttp"):
                # A client goes by itself once all that it was given has its receipt.
                process = self[role]
                ended = await (process.ended(within_s=120) if role == "client" else process.stop())
                assert ended.code == 0, (role, ended.said)
                self.printed = ended.out or self.printed
            await self.authority.verify()

    def taken(self) -> list[bytes]:
        """The names of all messages that the server's app took."""
        return (self._home / "taken").read_bytes().splitlines()

    def acknowledged(self) -> list[bytes]:
        """The names of all its answers that have their receipt."""
        return (self._home / "acknowledged").read_bytes().splitlines()

    async def _start_server(self, echo: Address, allow: tuple[str, ...]) -> None:
        config = self._home / "server.toml"
        config.write_text(
            f"[server]\nallow = {list(allow)}\n"
            f'[[server.tunnel]]\nlisten = "{_ANYWHERE}"\napp = "answering:answer"\n'
            f'[[server.tunnel]]\nlisten = "{_ANYWHERE}"\napp = "forward:{echo}"\n'
        )
        server = await self._start("server", "--config", config, "--crl-interval", "1s")
        await self._watched("server", server)
        await server.event("listening", count=2)
        self.server_at, self._forward_at = (
            str(each["address"]) for each in server.named("listening")
        )

    async def _start_clients(self) -> None:
        named = ("--server-name", "server")
        self.client = client = await self._start(
            *("client", "--connect", self.server_at, "--follow", "--send", "-", *named),
            role="client",
            name="follower",
            given=None,
        )
        tunnel = await self._start(
            *("client", "--connect", self._forward_at, "--listen", _ANYWHERE, *named),
            role="tunnel",
        )
        await asyncio.gather(self._watched("client", client), self._watched("tunnel", tunnel))
        await client.event("session started")
        self.tunnel_at = str((await tunnel.event("listening"))["address"])

    async def _start(
        self, *words: str | Path, role: str = "", name: str = "", given: str | None = ""
    ) -> Process:
        role = role or str(words[0])
        token = await self.token(name or role)
        return await self._asynctls.start(
            *(*words, "--state", self._home / role, "--key-type", "ecdsa-p256", *_METRICS),
            given=given,
            environ={"ASYNCTLS_JOIN": token.format()},
        )

    async def _watched(self, role: str, process: Process) -> None:
        self._processes[role] = process
        self.watch.add(role, str((await process.event("metrics served"))["address"]))
