"""The guides, run: what they tell a reader to do works, and prints what they say."""

from __future__ import annotations

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


BOTH = {"server-state": "server", "client-state": "client"}
RUN = (
    Guide(ROOT / "README.md", starts_ttp=True, ports=("8444",)),
    Guide(GUIDES / "access.md", identities=BOTH, instead={"cert.pem": "client-state/cert.pem"}),
    Guide(
        GUIDES / "live-sessions.md",
        identities={f"{STATE}/server": "server", f"{STATE}/client": "client"},
        files={"lines.txt": "one\ntwo\n"},
    ),
    Guide(GUIDES / "streams.md", identities=BOTH),
)


# Many processes, one after the other.
@pytest.mark.timeout(180)
@pytest.mark.parametrize("guide", RUN, ids=str)
async def test_a_guide_does_what_it_says(
    guide: Guide, tmp_path: Path, logged: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "reader"
    async with AsyncExitStack() as stack:
        reader = Reader(folder, logged, ports=guide.ports, instead=guide.instead)
        await stack.enter_async_context(reader)
        if not guide.starts_ttp:
            await stack.enter_async_context(prepared(guide, reader))
        monkeypatch.chdir(folder)
        for block in blocks(guide.page):
            if block.not_run is None:
                await reader.read(block)


@asynccontextmanager
async def prepared(guide: Guide, reader: Reader) -> AsyncIterator[None]:
    """What a reader has who comes to the guide, and a TTP, where the commands look for it."""
    folder = reader.folder
    for name, content in guide.files.items():
        (folder / name).write_text(content)
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
