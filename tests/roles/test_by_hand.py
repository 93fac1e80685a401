"""The three terminals: ttp, server and client as people start them, with the ready files."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library

if TYPE_CHECKING:
    from tests.roles.processes import Daemons

MESSAGE = b"The OTP for transferring Rs 1,00,000 to your friend's account is 256345."
CONFIGS = Path(__file__).parents[2] / "configs"


# A dozen processes one after the other.
@pytest.mark.timeout(180)
@pytest.mark.one_loop
async def test_three_terminals_with_the_ready_files(asynctls: Daemons, tmp_path: Path) -> None:
    def ready(role: str) -> tuple[str | Path, ...]:
        return ("--config", CONFIGS / f"{role}.toml", "--state", tmp_path / role)

    ttp = await asynctls.start(
        *("ttp", *ready("ttp"), "--listen", "127.0.0.1:0"),
        *("--root-key-type", "ecdsa-p256", "--issuing-key-type", "ecdsa-p256"),
    )
    await ttp.event("listening")
    assert ttp.named("CA made")
    quick = ("--key-type", "ecdsa-p256", "--join-file", "-")

    async def token(role: str) -> str:
        return (await asynctls.run("ttp", "token", role, *ready("ttp"))).out.decode()

    serve = ("server", *ready("server"), "--listen", "127.0.0.1:0")
    server = await asynctls.start(*serve, *quick, given=await token("server"))
    address = str((await server.event("listening"))["address"])
    assert server.named("key pair made")
    assert server.named("joined")

    receive = ("client", *ready("client"), "--connect", address)
    join_string = await token("client")
    client = await asynctls.start(*receive, *quick, given=join_string)
    ended = await client.ended()
    assert (ended.code, ended.out) == (0, MESSAGE + b"\n"), ended.said
    assert ended.said == ["Message received"]
    assert client.named("joined")
    sent = await server.event("message sent")
    assert sent["receipt"] == "verified"
    for each, peer in ((server, "client (serial "), (client, "server (serial ")):
        over = await each.event("session ended")
        assert over["reason"] == "both ends closed it"
        assert str(over["peer"]).startswith(peer)

    # From the second start on the identities are there.
    again = await asynctls.start(*receive, "--json", *quick, given=join_string)
    ended = await again.ended()
    assert ended.code == 0
    received = json.loads(ended.out)
    assert received["message"] == MESSAGE.decode()
    assert received["peer"] == "server"
    assert len(again.named("identity found")) == 1
    assert len(again.named("join string ignored")) == 1
    assert not again.named("joining")
    assert (await server.stop()).code == 0
    assert [event["event"] for event in server.events][-2:] == ["stopping", "stopped"]
    server = await asynctls.start(*serve, *quick, given=join_string)
    address = str((await server.event("listening"))["address"])
    assert len(server.named("join string ignored")) == 1
    ended = await asynctls.run("client", *ready("client"), "--connect", address)
    assert (ended.code, ended.out) == (0, MESSAGE + b"\n")

    listed = (await asynctls.run("ttp", "list", "--json", *ready("ttp"))).out.splitlines()
    assert [json.loads(line)["name"] for line in listed] == ["server", "client"]
    assert (await server.stop()).code == 0
    assert (await ttp.stop()).code == 0
    assert [event["event"] for event in ttp.events][-2:] == ["stopping", "stopped"]


async def test_a_message_is_sent_only_once_its_receipt_is_in(
    asynctls: Daemons, issued: Any
) -> None:
    server, address = await asynctls.server(await issued("server"))
    identity = await issued("client")
    async with library.connect(address, server_name="server", identity=identity) as session:
        await server.event("session started")
        # The server has sent all that it will send without the receipt; a second session that
        # comes and goes shows that it had time to log.
        other = await (await asynctls.client(identity, address)).ended()
        assert other.code == 0
        await server.event("session ended")
        assert len(server.named("message sent")) == 1
        assert await session.receive() == MESSAGE
        await server.event("message sent", count=2)


async def test_sigterm_lets_a_session_end_and_takes_no_new_one(
    asynctls: Daemons, issued: Any
) -> None:
    server, address = await asynctls.server(await issued("server"))
    identity = await issued("client")
    async with library.connect(address, server_name="server", identity=identity) as session:
        await server.event("session started")
        server.signal(signal.SIGTERM)
        assert (await server.event("draining"))["connections"] == 1
        late = await (await asynctls.client(identity, address)).ended()
        assert late.code == 1
        (line,) = late.said
        assert line == (
            f"asynctls: the server at {address} cannot be reached: Connection refused; "
            "is 'asynctls server' running there?"
        )
        assert await session.receive() == MESSAGE
    assert session.going_away
    ended = await server.ended()
    assert ended.code == 0
    assert server.named("session ended")[0]["reason"] == "both ends closed it"


async def test_a_second_sigterm_ends_at_once(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"), "--drain", "1h")
    identity = await issued("client")
    async with library.connect(address, server_name="server", identity=identity):
        await server.event("session started")
        server.signal(signal.SIGTERM)
        await server.event("draining")
        assert not server.named("session ended")
        server.signal(signal.SIGTERM)
        assert (await server.ended()).code == 0
    assert server.named("ending at once")
    assert server.named("session ended")[0]["reason"] == "cut off: the server stops"


async def test_a_drain_that_lasts_too_long_is_cut_off(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"), "--drain", "0s")
    identity = await issued("client")
    async with library.connect(address, server_name="server", identity=identity):
        await server.event("session started")
        assert (await server.stop()).code == 0
    assert server.named("connections cut off")[0]["count"] == 1
