"""What comes before the playbook and after it, with a server and a TTP as they are."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest

import asynctls
from asynctls.config import Address, ProbeConfig, TTPConfig
from asynctls.errors import IdentityError, ProbeError, StateError
from asynctls.probe import run
from asynctls.probe.attack import Verdict
from asynctls.probe.playbook import PLAYBOOK, try_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from asynctls.enrolment import Identity
    from asynctls.probe.attack import Attack, Finding
    from asynctls.testing import CA
    from tests.conftest import LogWatch

FIRST_AND_LAST = (PLAYBOOK[0], PLAYBOOK[-1])


class Server:
    """One that runs until it is stopped."""

    def __init__(self, address: Address, stop: Callable[[], object]) -> None:
        self.address = address
        self.stop = stop


@pytest.fixture
def client(asynctls_ca: CA) -> Identity:
    return asynctls_ca.identity("client")


@pytest.fixture
async def server(
    asynctls_ca: CA, logged: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    """On which the first attack is tried, and the last."""
    monkeypatch.setattr(run, "try_all", partial(try_all, attacks=FIRST_AND_LAST))

    async def app(session: asynctls.Session) -> None:
        async for message in session:
            await session.send(message)

    identity = asynctls_ca.identity("server")
    serving = asyncio.create_task(
        asynctls.serve(app, "127.0.0.1:0", identity=identity, allow=["client"])
    )
    address = Address.parse((await logged.until("listening"))["address"])
    yield Server(address, serving.cancel)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def nobody(_attack: Attack, _finding: Finding) -> None:
    """Is told, and does nothing."""


async def test_the_log_says_whom_it_found(
    server: Server, client: Identity, logged: LogWatch
) -> None:
    findings = await run.probe(server.address, ProbeConfig(state=client.folder), told=nobody)
    assert [each.attack for each in findings] == [each.name for each in FIRST_AND_LAST]
    probing = logged.named("probing")[0]
    assert probing["peer"].startswith("server (serial ")
    assert probing["names"] == ["server"]
    assert probing["sessions"] is True


async def test_a_server_that_is_gone_afterwards_has_withstood_nothing(
    server: Server, client: Identity
) -> None:
    def gone(_attack: Attack, _finding: Finding) -> None:
        server.stop()

    config = ProbeConfig(state=client.folder)
    first, last = await run.probe(server.address, config, told=gone)
    assert first.verdict is Verdict.WITHSTOOD
    assert (last.attack, last.verdict) == ("all of it together", Verdict.NOT_WITHSTOOD)
    assert last.answer.startswith("an honest client is not served")


async def test_without_an_identity_nothing_is_tried(server: Server, tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="there is no identity"):
        await run.probe(server.address, ProbeConfig(state=tmp_path / "none"), told=nobody)


async def test_the_ttp_must_be_the_one_of_both(
    server: Server, client: Identity, tmp_path: Path, new_ttp: Callable[[Path], None]
) -> None:
    new_ttp(tmp_path / "ttp")
    config, another = ProbeConfig(state=client.folder), TTPConfig(state=tmp_path / "ttp")
    with pytest.raises(ProbeError, match=r"another root than the one that client trusts"):
        await run.probe(server.address, config, ttp=another, told=nobody)


async def test_a_folder_without_a_ttp_is_said_so(
    server: Server, client: Identity, tmp_path: Path
) -> None:
    config, none = ProbeConfig(state=client.folder), TTPConfig(state=tmp_path / "nothing")
    with pytest.raises(StateError, match="nothing"):
        await run.probe(server.address, config, ttp=none, told=nobody)
