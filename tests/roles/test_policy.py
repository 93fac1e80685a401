"""What a TTP should not issue it refuses, and what a person must approve waits: as processes."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.config import Address
from asynctls.enrolment import JoinString, join
from asynctls.errors import EnrolmentPendingError
from asynctls.pki.keys import KeyType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.roles.processes import Daemons, Ended, Process

pytestmark = pytest.mark.one_loop

POLICY = """
[ttp]
listen = "127.0.0.1:0"
root_key_type = "ecdsa-p256"
issuing_key_type = "ecdsa-p256"
allow_names = ["server", "client", ".fleet.example"]
allow_key_types = ["ecdsa-p256", "rsa-3072"]
max_lifetime = "12h"
require_linking = true
"""


class House:
    """A TTP with that policy, and its admin verbs."""

    def __init__(self, asynctls: Daemons, ttp: Process, folder: Path) -> None:
        self.asynctls = asynctls
        self.ttp = ttp
        self.folder = folder

    async def verb(self, *words: str) -> Ended:
        config = ("--config", self.folder / "ttp.toml", "--state", self.folder / "ttp")
        return await self.asynctls.run("ttp", *words, *config)

    async def token(self, *words: str) -> str:
        ended = await self.verb("token", *words, "--lifetime", "1h")
        assert ended.code == 0, ended.said
        return ended.out.decode()

    async def join(self, folder: str, token: str, *words: str) -> Ended:
        state = ("--state", self.folder / folder, "--join-file", "-")
        return await self.asynctls.run("identity", "join", *state, *words, given=token)

    async def pending(self) -> list[dict[str, str | int | list[str]]]:
        return [
            json.loads(line) for line in (await self.verb("pending", "--json")).out.splitlines()
        ]


@pytest.fixture
async def house(asynctls: Daemons, tmp_path: Path) -> AsyncIterator[House]:
    (tmp_path / "ttp.toml").write_text(POLICY)
    ttp = await asynctls.start(
        "ttp", "--config", tmp_path / "ttp.toml", "--state", tmp_path / "ttp"
    )
    await ttp.event("listening")
    yield House(asynctls, ttp, tmp_path)
    assert (await ttp.stop()).code == 0


async def test_a_policy_in_the_config_is_kept_by_token_and_by_certificate(house: House) -> None:
    ended = await house.verb("token", "elsewhere.example", "--role", "client")
    assert ended.code == 2
    assert "allow_names" in "".join(ended.said)
    assert (await house.verb("token", "client", "--lifetime", "13h")).code == 2

    token = await house.token("client")
    weak = await house.join("weak", token, "--key-type", "rsa-2048")
    assert weak.code == 1
    assert "allow_key_types" in "".join(weak.said)
    refused = await house.ttp.event("enrolment refused")
    assert (refused["rule"], refused["name"]) == ("key-type-not-allowed", "client")

    assert (await house.join("client", token, "--key-type", "ecdsa-p256")).code == 0
    other = await house.join("other", token, "--key-type", "ecdsa-p256")
    assert other.code == 1
    assert "was used already" in "".join(other.said)


async def test_each_use_of_a_token_is_for_another_machine(house: House) -> None:
    token = await house.token(
        *("w.fleet.example", "--role", "client", "--uses", "2", "--key-type", "ecdsa-p256"),
        *("--allow-name", "*.w.fleet.example"),
    )
    quick = ("--key-type", "ecdsa-p256")
    outcomes = await asyncio.gather(*(house.join(f"w{n}", token, *quick) for n in range(3)))
    assert sorted(each.code for each in outcomes) == [0, 0, 1]


async def test_a_request_waits_for_a_person_and_is_answered_once_approved(
    house: House, tmp_path: Path
) -> None:
    text = await house.token("server", "--approve")
    waiting = await house.asynctls.start(
        *("server", "--state", tmp_path / "server", "--listen", "127.0.0.1:0", "--allow", "any"),
        *("--key-type", "ecdsa-p256", "--join-file", "-"),
        given=text,
    )
    awaited = await waiting.event("approval awaited")
    (request,) = await house.pending()
    assert (request["name"], request["role"]) == ("server", "server")
    assert str(request["spki_sha256"]) in awaited["reason"]

    # Somebody with the same join string and another key gets nowhere.
    assert (await house.join("thief", text, "--key-type", "ecdsa-p256")).code == 1

    approved = await house.verb("approve", str(request["request"]))
    assert (approved.code, approved.out) == (0, b"server\n")
    assert await house.pending() == []
    again = await house.verb("approve", str(request["request"]))
    assert again.code == 1
    assert "ttp pending" in "".join(again.said)
    await waiting.event("joined")
    await waiting.event("listening")
    assert (await house.verb("verify")).code == 0


async def test_who_did_not_wait_long_enough_asks_again_with_the_same_key(
    house: House, tmp_path: Path
) -> None:
    string = JoinString.parse(await house.token("client", "--approve"))
    listening = Address.parse(str((await house.ttp.event("listening"))["address"]))
    assert string.address == listening

    async def ask() -> str:
        identity = await join(
            tmp_path / "client",
            string,
            key_type=KeyType.ECDSA_P256,
            give_up_after=timedelta(seconds=3),
        )
        return identity.name

    with pytest.raises(EnrolmentPendingError, match="run this again"):
        await ask()
    (request,) = await house.pending()
    await house.verb("approve", str(request["request"]))
    assert await ask() == "client"
