"""Each way in which joining can fail is told apart in one line, and no secret is in it."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from asynctls.client import run as run_client
from asynctls.config import Address, ClientConfig, SecretText
from asynctls.enrolment import Identity, JoinString
from asynctls.errors import TTPUnreachableError
from asynctls.mac import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import AMinuteAgo
    from tests.roles.processes import Daemons

pytestmark = pytest.mark.one_loop

SECRET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


async def failure(
    asynctls: Daemons, folder: Path, join_string: str, secret: str, *, code: int = 1
) -> str:
    """What the client says that could not join; it says it in one line, and the secret nowhere."""
    client = await asynctls.start(
        *("client", "--state", folder, "--key-type", "ecdsa-p256", "--join-file", "-"),
        given=join_string,
    )
    ended = await client.ended()
    assert (ended.code, ended.out) == (code, b""), ended.said
    assert secret not in str(client.events)
    (line,) = ended.said
    assert secret not in line
    assert line.startswith("asynctls: ")
    assert Identity.find(folder) is None
    return line.removeprefix("asynctls: ")


def secret_of(token: JoinString) -> str:
    return token.secret.reveal().decode()


async def test_a_ttp_out_of_reach_is_given_up_in_words(
    tmp_path: Path, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this process, since the 30 s are nobody's to set.
    monkeypatch.setattr("asynctls.client.service._GIVE_UP_AFTER", timedelta(seconds=1))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", unused.getsockname()[1])
        token = JoinString("id", Secret(SECRET.encode()), address, "client", bytes(32))
        config = ClientConfig(
            state=tmp_path / "client", join=SecretText(token.format()), key_type="ecdsa-p256"
        )
        with pytest.raises(TTPUnreachableError) as caught:
            await run_client(config, lambda: config)
    assert str(caught.value).startswith(f"the TTP at {address} did not answer within 1 seconds")
    assert "is 'asynctls ttp' running there?" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert logged.named("ttp unreachable")[0]["ttp"] == str(address)


async def test_another_ttp_than_the_join_string_names(
    asynctls: Daemons, ttp: Any, logged: Any, tmp_path: Path
) -> None:
    token = await ttp.token("client")
    wrong = replace(token, root_sha256=bytes(32))
    said = await failure(asynctls, tmp_path / "client", wrong.format(), secret_of(token))
    assert said.startswith(f"{ttp.address} is not the TTP that the join string names")
    assert bytes(32).hex() in said
    assert ttp.authority.root_sha256.hex() in said
    assert not logged.named("issued")


async def test_a_token_that_was_used(
    asynctls: Daemons, ttp: Any, issued: Any, tmp_path: Path
) -> None:
    token = await ttp.token("client")
    first = await asynctls.run(
        *("identity", "join", "--state", tmp_path / "first"),
        *("--key-type", "ecdsa-p256", "--join-file", "-"),
        given=token.format(),
    )
    assert first.code == 0
    said = await failure(asynctls, tmp_path / "second", token.format(), secret_of(token))
    assert "used already, with another key" in said


async def test_a_token_that_has_expired(
    asynctls: Daemons, ttp: Any, tmp_path: Path, a_minute_ago: AMinuteAgo
) -> None:
    with a_minute_ago():
        token = await ttp.token("client", ttl=timedelta(seconds=1))
    said = await failure(asynctls, tmp_path / "client", token.format(), secret_of(token))
    assert "could be used until" in said


async def test_a_token_that_nobody_made(asynctls: Daemons, ttp: Any, tmp_path: Path) -> None:
    token = replace(await ttp.token("client"), secret=Secret(SECRET.encode()))
    said = await failure(asynctls, tmp_path / "client", token.format(), SECRET)
    assert "no such token" in said


async def test_a_token_for_another_name_than_the_identity_that_is_there(
    asynctls: Daemons, ttp: Any, issued: Any, a_minute_ago: AMinuteAgo
) -> None:
    with a_minute_ago():
        held = await issued("client", lifetime=timedelta(seconds=3))
    token = await ttp.token("server")
    ended = await asynctls.run(
        *("client", "--state", held.folder, "--key-type", "ecdsa-p256", "--join-file", "-"),
        given=token.format(),
    )
    assert ended.code == 1
    (line,) = ended.said
    assert line == (
        f"asynctls: {held.folder} holds the identity 'client', and this token is for 'server': "
        "use a token for 'client', or another state folder"
    )
    assert Identity.load(held.folder) == held


@pytest.mark.parametrize(
    "junk",
    [
        SECRET,
        f"est://id:{SECRET}@127.0.0.1:1",
        f"est://{SECRET}@127.0.0.1:1#sha256=" + "00" * 32,
    ],
)
async def test_a_join_string_that_is_none_is_never_quoted(
    asynctls: Daemons, tmp_path: Path, junk: str
) -> None:
    said = await failure(asynctls, tmp_path / "client", junk, SECRET, code=2)
    assert "join string" in said
