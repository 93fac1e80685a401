"""The guides, run: what they tell a reader to do works, and prints what they say."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.enrolment import join
from asynctls.pki.keys import KeyType
from tests.conftest import run_ttp
from tests.docs.pages import GUIDES, ROOT, blocks
from tests.docs.reader import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.conftest import LogWatch

STATE = ".local/state/asynctls"


@dataclass(frozen=True, slots=True)
class Guide:
    """A guide that is run, and what its reader has already.

    Attributes:
        page: the document.
        starts_ttp: whether the guide itself starts the TTP; else one is there.
        identities: folders, and the names of the identities in them.
        tokens: files, and the names that the join strings in them are for.
        files: files, and what is in them.
        ports: those in the guide, beside 8440 and 8443, for which others are taken.
        instead: what else is written for what stands there.
    """

    page: Path
    starts_ttp: bool = False
    identities: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.page.stem


# Where something answers that is behind a tunnel, and what says hello to it through the tunnel.
ECHO = "55432"
HELLO = "exec 3<>/dev/tcp/127.0.0.1/5432; echo hello >&3; read -r line <&3; test $line = hello"
BOTH = {"server-state": "server", "client-state": "client"}
RUN = (
    Guide(ROOT / "README.md", starts_ttp=True, ports=("8444",)),
    Guide(GUIDES / "access.md", identities=BOTH, instead={"cert.pem": "client-state/cert.pem"}),
    Guide(GUIDES / "embedding.md", identities=BOTH, ports=("8445",)),
    Guide(
        GUIDES / "live-sessions.md",
        identities={f"{STATE}/server": "server", f"{STATE}/client": "client"},
        files={"lines.txt": "one\ntwo\n"},
    ),
    Guide(
        GUIDES / "operating.md",
        starts_ttp=True,
        ports=("9440", "9443"),
        instead={
            "10.0.0.2": "127.0.0.1",
            "10.0.0.5": "127.0.0.1",
            '"ttp.example.org", ': "",
            "/var/lib/": "state/",
        },
    ),
    Guide(GUIDES / "streams.md", identities=BOTH),
    Guide(
        GUIDES / "tunnels.md",
        identities={"state/server": "server", "state/client": "app.example"},
        tokens={"server.join": "server", "client.join": "app.example"},
        ports=("5432", "8444", ECHO),
        instead={
            "10.0.0.5": "127.0.0.1",
            # Elsewhere it is another machine's.
            "forward:127.0.0.1:5432": f"forward:127.0.0.1:{ECHO}",
            "psql -h 127.0.0.1 mydatabase": HELLO,
            "/var/lib/asynctls": "state",
            "/run/redis": "redis",
            "/run/app/": "",
        },
    ),
)


# Many processes, one after the other.
@pytest.mark.timeout(180)
@pytest.mark.parametrize("guide", RUN, ids=str)
async def test_a_guide_does_what_it_says(
    guide: Guide, tmp_path: Path, logged: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Short, for the paths of UNIX sockets.
    folder = tmp_path / "r"
    async with AsyncExitStack() as stack:
        reader = Reader(folder, logged, ports=guide.ports, instead=guide.instead)
        await stack.enter_async_context(reader)
        if ECHO in guide.ports:
            await stack.enter_async_context(echoing(reader.ports[ECHO]))
        for name, content in guide.files.items():
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(content)
        if not guide.starts_ttp:
            await stack.enter_async_context(prepared(guide, reader))
        monkeypatch.chdir(folder)
        for block in blocks(guide.page):
            await reader.read(block)


@asynccontextmanager
async def prepared(guide: Guide, reader: Reader) -> AsyncIterator[None]:
    """What a reader has who comes to the guide, and a TTP, where the commands look for it."""
    folder = reader.folder
    async with run_ttp(folder / STATE / "ttp", port=reader.ports["8440"]) as ttp:
        for name, holder in guide.identities.items():
            token = await ttp.token(holder)
            await join(
                folder / name,
                token,
                key_type=KeyType.ECDSA_P256,
                give_up_after=timedelta(seconds=10),
            )
        for name, holder in guide.tokens.items():
            file = folder / name
            file.touch(mode=0o600)
            file.write_text((await ttp.token(holder)).format())
        yield


@asynccontextmanager
async def echoing(port: int) -> AsyncIterator[None]:
    """Sends back what it gets, without TLS."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(echo, "127.0.0.1", port):
        yield
