"""All three roles as processes, each of which can be killed and is then started again."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from asynctls.config import Address, TTPConfig
from asynctls.enrolment import Identity, JoinString, join
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.ttp.authority import Authority
from tests.ports import free_port
from tests.roles.keeping import KEEPING, have_app

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.roles.processes import Daemons, Process

__all__ = ["Fleet", "granted", "token"]

_PACE_S = 0.02
_DAY = timedelta(days=1)


async def granted(
    config: TTPConfig, at: str, folder: Path, *, name: str = "", lifetime: timedelta = _DAY
) -> Identity:
    """An identity of the TTP that runs by ``config`` at ``at``, named as its folder or so."""
    name = name or folder.name
    join_string = await token(config, at, name, lifetime=lifetime)
    return await join(folder, join_string, key_type=KeyType.ECDSA_P256, give_up_after=lifetime)


async def token(config: TTPConfig, at: str, name: str, *, lifetime: timedelta = _DAY) -> JoinString:
    """A token of the TTP that runs by ``config`` at ``at``."""
    async with await Authority.beside(config) as authority:
        token_id, secret = await authority.create_token(
            name, profile=Profile.PEER, ttl=_DAY, lifetime=lifetime
        )
    return JoinString(token_id, secret, Address.parse(at), name, authority.root_sha256)


class Fleet:
    """A TTP, a server of two workers that keeps what comes, and a client that follows and sends.

    Attributes:
        server_at: where the server listens.
        lines: what the client that runs now was given to send.
    """

    roles: ClassVar = ("ttp", "server", "worker", "client")

    def __init__(self, asynctls: Daemons, folder: Path, *, lifetime: timedelta) -> None:
        """Nothing runs yet."""
        self.config = TTPConfig(state=folder / "ttp")
        self.server_at, self._ttp_at = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.lines: list[bytes] = []
        self._asynctls = asynctls
        self._folder = folder
        self._lifetime = lifetime
        self._processes: dict[str, Process] = {}
        self._feeding: asyncio.Task[None] | None = None

    def __getitem__(self, role: str) -> Process:
        return self._processes[role]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All of them; stopped in order at the end."""
        have_app(self._folder / "home")
        await self._start_ttp()
        for folder in ("server", "client"):
            await self.identity(folder, folder)
        await self._start_server()
        await self._start_client()
        try:
            yield
        finally:
            await self._no_more_lines()
        # A client goes by itself once all that it was given has its receipt.
        await self["client"].give(b"", end=True)
        assert (await self["client"].ended()).code == 0
        assert (await self["server"].stop()).code == 0
        assert (await self["ttp"].stop()).code == 0

    async def identity(self, name: str, folder: str) -> Identity:
        """Another one, of the TTP that runs."""
        return await granted(
            self.config,
            self._ttp_at,
            self._folder / folder,
            name=name,
            lifetime=self._lifetime,
        )

    def identities(self) -> list[Identity]:
        """Those of server and client, as they are on disk."""
        return [Identity.load(self._folder / name) for name in ("server", "client")]

    async def kill(self, role: str, chance: random.Random) -> None:
        """kill -9, and the start of another; a worker's is its supervisor's to do."""
        if role == "worker":
            await self._kill_worker(chance)
            return
        if role == "client":
            await self._no_more_lines()
        await self[role].kill()
        await {
            "ttp": self._start_ttp,
            "server": self._start_server,
            "client": self._start_client,
        }[role]()

    async def _kill_worker(self, chance: random.Random) -> None:
        server = self["server"]
        pids = {each["worker"]: each["pid"] for each in server.named("worker started")}
        serving = len(server.named("worker serves"))
        os.kill(chance.choice(list(pids.values())), signal.SIGKILL)
        await server.event("worker serves", count=serving + 1)

    async def _start_ttp(self) -> None:
        self._processes["ttp"], self._ttp_at = await self._asynctls.ttp(
            self.config.state, "--listen", self._ttp_at
        )

    async def _start_server(self) -> None:
        self._processes["server"] = server = await self._asynctls.start(
            *("server", "--state", self._folder / "server", "--listen", self.server_at),
            *("--allow", "client", "--workers", "2", *KEEPING),
        )
        self.server_at = str((await server.event("listening"))["address"])

    async def _start_client(self) -> None:
        self._processes["client"] = client = await self._asynctls.start(
            *("client", "--state", self._folder / "client", "--connect", self.server_at),
            *("--server-name", "server", "--follow", "--send", "-"),
            given=None,
        )
        await client.event("session started")
        self.lines.clear()
        self._feeding = asyncio.create_task(self._feed(client))

    async def _feed(self, client: Process) -> None:
        """Line after line, no faster than the client takes them."""
        with suppress(ConnectionError):
            for number in count():
                self.lines.append(b"line %d of process %d" % (number, client.process.pid))
                await client.give(self.lines[-1] + b"\n")
                await asyncio.sleep(_PACE_S)

    async def _no_more_lines(self) -> None:
        assert self._feeding is not None
        self._feeding.cancel()
        await asyncio.gather(self._feeding, return_exceptions=True)
