"""What keeps a daemon from starting is told in one line, with the exit code of its kind."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import AMinuteAgo
    from tests.roles.processes import Daemons, Ended

pytestmark = pytest.mark.one_loop

WRONG_CONFIG, NOT_DONE = 2, 1
ANY_PORT = ("--listen", "127.0.0.1:0")


def only_line(ended: Ended) -> str:
    assert ended.out == b""
    (line,) = ended.said
    assert line.startswith("asynctls: ")
    return line


async def test_a_server_that_would_let_nobody_in(asynctls: Daemons, tmp_path: Path) -> None:
    ended = await asynctls.run("server", "--state", tmp_path / "server", *ANY_PORT)
    assert ended.code == WRONG_CONFIG
    assert "nobody could connect" in only_line(ended)
    assert "--allow client" in only_line(ended)


@pytest.mark.parametrize("role", ["ttp", "server"])
async def test_an_address_that_is_in_use(
    asynctls: Daemons, issued: Any, ttp: Any, tmp_path: Path, role: str
) -> None:
    words: tuple[str | Path, ...] = ("--state", tmp_path / f"{role}-2")
    if role == "server":
        words = ("--state", (await issued("server")).folder, "--allow", "any")
    ended = await asynctls.run(
        role,
        *words,
        *("--listen", str(ttp.address)),
        environ={
            "ASYNCTLS_ROOT_KEY_TYPE": "ecdsa-p256",
            "ASYNCTLS_ISSUING_KEY_TYPE": "ecdsa-p256",
        },
    )
    assert ended.code == WRONG_CONFIG
    assert only_line(ended) == (
        f"asynctls: {role}.listen ({ttp.address}): the address is in use: stop the other program, "
        "or choose another port"
    )


async def test_a_state_folder_that_another_server_holds(asynctls: Daemons, issued: Any) -> None:
    identity = await issued("server")
    server, _ = await asynctls.server(identity)
    ended = await asynctls.run("server", "--state", identity.folder, "--allow", "any", *ANY_PORT)
    assert ended.code == NOT_DONE
    assert str(identity.folder) in only_line(ended)
    assert str(server.process.pid) in only_line(ended)


async def test_a_server_whose_identity_has_expired(
    asynctls: Daemons, issued: Any, a_minute_ago: AMinuteAgo
) -> None:
    with a_minute_ago():
        identity = await issued("server", lifetime=timedelta(seconds=3))
    ended = await asynctls.run("server", "--state", identity.folder, "--allow", "any", *ANY_PORT)
    assert ended.code == NOT_DONE
    assert only_line(ended) == (
        f"asynctls: the certificate of server in {identity.folder} expired on "
        f"{identity.not_after:%Y-%m-%d %H:%M:%S} UTC: join again with a new token "
        "('asynctls ttp token server')"
    )


async def test_an_expired_identity_joins_again_with_the_join_string_that_is_there(
    asynctls: Daemons, ttp: Any, issued: Any, a_minute_ago: AMinuteAgo
) -> None:
    with a_minute_ago():
        identity = await issued("server", lifetime=timedelta(seconds=3))
    token = (await ttp.token("server")).format()
    server = await asynctls.start(
        *("server", "--state", identity.folder, "--allow", "any", *ANY_PORT),
        *("--key-type", "ecdsa-p256"),
        environ={"ASYNCTLS_JOIN": token},
    )
    await server.event("listening")
    assert (await server.event("joined"))["serial"] != identity.serial


async def test_an_identity_whose_key_is_another_certificates(
    asynctls: Daemons, issued: Any
) -> None:
    identity, other = await issued("server"), await issued("other")
    identity.key_file.write_bytes(other.key_file.read_bytes())
    ended = await asynctls.run("server", "--state", identity.folder, "--allow", "any", *ANY_PORT)
    assert ended.code == NOT_DONE
    assert "key" in only_line(ended)


async def test_a_server_waits_until_its_ttp_is_there(
    asynctls: Daemons, running_ttp: Any, tmp_path: Path
) -> None:
    async with running_ttp(tmp_path / "ttp") as before:
        token = await before.token("server")
    server = await asynctls.start(
        *("server", "--state", tmp_path / "server", "--allow", "any", *ANY_PORT),
        *("--key-type", "ecdsa-p256", "--join-file", "-"),
        given=token.format(),
    )
    tried = await server.event("ttp unreachable")
    assert tried["ttp"] == str(token.address)
    assert "cannot be reached" in str(tried["reason"])
    async with running_ttp(tmp_path / "ttp", port=token.address.port):
        await server.event("listening")
        server.signal(signal.SIGTERM)
        assert (await server.ended()).code == 0


async def test_a_server_that_waits_for_its_ttp_can_be_stopped(
    asynctls: Daemons, running_ttp: Any, tmp_path: Path
) -> None:
    async with running_ttp(tmp_path / "ttp") as before:
        token = await before.token("server")
    server = await asynctls.start(
        *("server", "--state", tmp_path / "server", "--allow", "any", *ANY_PORT),
        *("--key-type", "ecdsa-p256", "--join-file", "-"),
        given=token.format(),
    )
    await server.event("ttp unreachable")
    ended = await server.stop()
    assert (ended.code, ended.out, ended.said) == (0, b"", [])
