"""``client --follow``: it stays, and connects again whenever a session has ended."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.errors import ErrorCode

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls import Session
    from tests.roles.processes import Daemons, Process

pytestmark = pytest.mark.one_loop

TEXT = "The OTP is 256345."


async def silent(session: Session) -> None:
    async for _ in session:
        pass


async def test_it_comes_again_after_each_session_with_a_pause_that_grows(
    asynctls: Daemons, issued: Any
) -> None:
    server, address = await asynctls.server(await issued("server"), "--message", TEXT)
    client = await asynctls.client(await issued("client"), address, "--follow")
    await client.received(3)
    ended = await client.stop()
    assert (ended.code, ended.out) == (0, f"{TEXT}\n".encode() * 3)
    pauses = [event["retry_in_s"] for event in client.named("connecting again")]
    assert pauses[0] < pauses[1]
    await server.event("session ended", count=3)


async def test_a_session_that_ends_with_its_certificate_makes_no_pause_longer(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    async def end_of_its_certificate(session: Session) -> None:
        await session.end(ErrorCode.CERTIFICATE_EXPIRED, "the certificate of client ended")

    async with serving(end_of_its_certificate) as address:
        client = await asynctls.client(await issued("client"), address, "--follow")
        await client.event("connecting again", count=4)
        assert (await client.stop()).code == 0
    pauses = [event["retry_in_s"] for event in client.named("connecting again")]
    assert max(pauses) < 0.7


async def test_renewals_end_sessions_in_order_and_no_line_is_lost(
    asynctls: Daemons, ttp: Any, tmp_path: Path
) -> None:
    async def joining(role: str, *words: str) -> Process:
        """Its certificate's seconds count from when it has started, however long that takes."""
        token = await ttp.token(role, lifetime=timedelta(seconds=15))
        state = ("--state", str(tmp_path / role), "--key-type", "ecdsa-p256")
        return await asynctls.start(
            *(role, *state, *words),
            given=None,
            environ={"ASYNCTLS_JOIN": token.format()},
        )

    server = await joining(
        "server", "--listen", "127.0.0.1:0", "--allow", "client", "--app", "echo"
    )
    address = str((await server.event("listening"))["address"])
    client = await joining(
        *("client", "--connect", address, "--server-name", "server", "--follow", "--send", "-")
    )
    lines = 0

    async def talk() -> None:
        nonlocal lines
        lines += 50
        await client.give(b"".join(b"%d\n" % each for each in range(lines - 49, lines + 1)))
        await client.received(lines)

    for renewals in (1, 2):
        await talk()
        await client.event("finishing", count=renewals)
        # Some of it in the session that ends, the rest in the next one.
        await talk()
    await client.give(b"", end=True)
    ended = await client.ended()
    assert (ended.code, ended.out) == (0, b"".join(b"%d\n" % each for each in range(1, lines + 1)))
    for each in (server, client):
        reasons = {str(event["reason"]) for event in each.named("session ended")}
        assert reasons == {"both ends closed it"}
    assert not client.named("sending again")


async def test_it_waits_for_a_server_that_is_not_there_yet_or_goes_away(
    asynctls: Daemons, issued: Any
) -> None:
    identity = await issued("server")
    words = ("--app", "echo")
    server, address = await asynctls.server(identity, *words)
    client = await asynctls.client(
        await issued("client"), address, "--follow", "--send", "-", given=None
    )
    await client.give(b"one\n")
    await client.received(1)
    # Told that the server drains, the client ends its session, and the server needs no deadline.
    assert (await server.stop()).code == 0
    assert not server.named("connections cut off")
    await client.event("finishing")
    await client.event("connecting again")
    await client.give(b"two\n")
    assert "cannot be reached" in (await client.event("connecting again", count=2))["reason"]
    await asynctls.server(identity, *words, "--listen", address)
    await client.received(2)
    await client.give(b"three\n", end=True)
    ended = await client.ended()
    assert (ended.code, ended.out) == (0, b"one\ntwo\nthree\n")


async def test_a_line_without_a_receipt_goes_out_again_in_the_next_session(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    taken: list[bytes] = []

    async def vanish_once(session: Session) -> None:
        if not taken:
            taken.append(await session.receive())
            session._channel.abort()
            return
        taken.extend([message async for message in session])

    async with serving(vanish_once) as address:
        client = await asynctls.client(
            await issued("client"), address, "--follow", "--send", "-", given="one\ntwo\nthree\n"
        )
        ended = await client.ended()
    assert ended.code == 0
    # The first one's receipt may or may not have come before the end.
    assert taken[-2:] == [b"two", b"three"]
    assert set(taken[:-2]) == {b"one"}
    assert client.named("sending again")


async def test_who_refuses_it_is_asked_again(asynctls: Daemons, issued: Any) -> None:
    identity = await issued("server")
    server, address = await asynctls.server(identity)
    client = await asynctls.client(await issued("stranger"), address, "--follow")
    reason = (await client.event("connecting again", count=2))["reason"]
    assert "stranger is not on its allow list" in reason
    assert (await server.stop()).code == 0
    await asynctls.server(identity, "--listen", address, "--allow", "stranger")
    await client.received(1)
    assert (await client.stop()).code == 0


async def test_a_signal_ends_it_in_order(
    asynctls: Daemons, issued: Any, serving: Any, logged: Any
) -> None:
    async with serving(silent) as address:
        client = await asynctls.client(await issued("client"), address, "--follow")
        await client.event("session started")
        client.signal(signal.SIGINT)
        ended = await client.ended()
        assert (ended.code, ended.out, ended.said) == (0, b"", [])
        assert (await logged.until("session ended"))["reason"] == "both ends closed it"


@pytest.mark.parametrize("cut_by", ["a second signal", "the end of the drain"])
async def test_a_server_that_does_not_end_does_not_keep_it(
    asynctls: Daemons, issued: Any, serving: Any, logged: Any, cut_by: str
) -> None:
    client_is_gone = asyncio.Event()

    async def deaf(session: Session) -> None:
        await client_is_gone.wait()
        await session.receive()

    drain = "60s" if cut_by == "a second signal" else "1s"
    async with serving(deaf) as address:
        client = await asynctls.client(
            await issued("client"), address, "--follow", "--drain", drain
        )
        await client.event("session started")
        client.signal(signal.SIGTERM)
        await client.event("stopping")
        if cut_by == "a second signal":
            client.signal(signal.SIGTERM)
        assert (await client.ended()).code == 0
        client_is_gone.set()
        assert "the client was stopped" in (await logged.until("session ended"))["reason"]
    assert bool(client.named("session cut off")) == (cut_by == "the end of the drain")


async def test_a_signal_ends_it_also_while_it_waits(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"))
    assert (await server.stop()).code == 0
    client = await asynctls.client(await issued("client"), address, "--follow")
    await client.event("connecting again")
    assert (await client.stop()).code == 0


async def test_sighup_takes_a_new_identity_for_the_next_session(
    asynctls: Daemons, issued: Any, serving: Any, logged: Any
) -> None:
    at_once = asyncio.Event()

    async def until_told(session: Session) -> None:
        await at_once.wait()

    async with serving(until_told) as address:
        old = await issued("client")
        client = await asynctls.client(old, address, "--follow")
        await client.event("session started")
        new = await issued("client")
        client.signal(signal.SIGHUP)
        await client.event("identity reloaded")
        at_once.set()
        await client.event("session started", count=2)
        peers = [event["peer"] for event in logged.named("session started")]
        assert peers[:2] == [f"client (serial {each.serial})" for each in (old, new)]
        assert (await client.stop()).code == 0


async def test_whoever_reads_its_output_no_more_ends_it(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    async def tell(session: Session) -> None:
        await session.send(b"message", receipt=True)

    ours, its = os.pipe()
    async with serving(tell) as address:
        os.close(ours)
        client = await asynctls.client(await issued("client"), address, "--follow", stdout=its)
        os.close(its)
        ended = await client.ended()
    assert (ended.code, ended.said) == (1, [])
