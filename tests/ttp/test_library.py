"""A TTP inside a program: it is joined, renews, revokes, and is found again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynctls
from asynctls.enrolment.keeper import Keeper
from asynctls.errors import (
    ConfigError,
    RefusedByPeerError,
    StateLockedError,
    TTPUnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HERE = "127.0.0.1:0"


async def greet(session: asynctls.Session) -> None:
    await session.send(b"hello " + session.peer.name.encode(), receipt=True)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., asynctls.Authority]:
    def make(address: str = HERE) -> asynctls.Authority:
        return asynctls.Authority(tmp_path / "ttp", address, key_type="ecdsa-p256")

    return make


async def joined(authority: asynctls.Authority, name: str) -> asynctls.Identity:
    return await asynctls.join(await authority.token(name), key_type="ecdsa-p256")


async def test_services_of_one_program_talk_by_certificates_that_are_nowhere_on_disk(
    opened: Any, logged: Any
) -> None:
    before = asyncio.all_tasks()
    async with opened() as authority:
        server, client = await joined(authority, "server"), await joined(authority, "client")
        async with asynctls.serving(greet, HERE, identity=server, allow=["client"]) as address:
            where = str(address)
            async with asynctls.connect(where, server_name="server", identity=client) as session:
                assert await session.receive() == b"hello client"
            listed = {each.name: each for each in await authority.list_certificates()}
            assert listed["client"].serial == client.serial
            assert await authority.revoke("client") == [client.serial]
            assert [each.name for each in await authority.list_certificates("revoked")] == [
                "client"
            ]
            # The refused handshake has the server fetch the CRL before its time.
            logged.events.clear()
            other = await joined(authority, "other")
            with pytest.raises(RefusedByPeerError):
                await connected(where, other)
            await logged.until("CRL taken")
            with pytest.raises(RefusedByPeerError, match="has been revoked"):
                await connected(where, client)
    assert asyncio.all_tasks() == before


async def connected(address: str, identity: asynctls.Identity) -> None:
    async with asynctls.connect(address, server_name="server", identity=identity):
        pass


async def test_it_is_found_again_and_renews_what_it_issued(opened: Any) -> None:
    async with opened() as authority:
        address, root = str(authority.address), authority.root_sha256
        identity = await joined(authority, "server")
    async with opened(address) as again:
        assert (str(again.address), again.root_sha256) == (address, root)
        async with Keeper(identity, crl_interval=timedelta(hours=1)) as keeper:
            await keeper._renew_once()
            assert keeper.identity.serial != identity.serial
        assert len(await again.list_certificates()) == 2


async def test_two_cannot_have_one_folder(opened: Any) -> None:
    async with opened():
        with pytest.raises(StateLockedError):
            await opened().__aenter__()


async def test_outside_its_context_it_says_so(opened: Any) -> None:
    authority = opened()
    with pytest.raises(RuntimeError, match="async with"):
        await authority.token("server")
    async with authority:
        token = await authority.token("server")
    with pytest.raises(RuntimeError, match="async with"):
        await authority.list_certificates()
    with pytest.raises(TTPUnreachableError):
        await asynctls.join(token, key_type="ecdsa-p256", give_up_after_s=0.1)


async def test_a_grant_that_cannot_be_is_an_error_in_words(opened: Any) -> None:
    async with opened() as authority:
        with pytest.raises(ConfigError, match="no name"):
            await authority.token("no name")
        with pytest.raises(ConfigError, match="reason"):
            await authority.revoke("server", reason="boredom")
