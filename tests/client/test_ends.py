"""How a client ends when the session does not end well: exit 1, one line, no traceback."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.listening import listening

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls import Session
    from tests.roles.processes import Daemons, Ended


def only_line(ended: Ended) -> str:
    assert (ended.code, ended.out) == (1, b"")
    (line,) = ended.said
    return line


async def silent(session: Session) -> None:
    """An app that waits for a message, which never comes."""
    await session.receive()


async def test_a_message_larger_than_it_takes_is_not_even_sent(
    asynctls: Daemons, issued: Any, serving: Any, logged: Any
) -> None:
    async def app(session: Session) -> None:
        await session.send(bytes(101), receipt=True)

    async with serving(app) as address:
        client = await asynctls.client(await issued("client"), address, "--max-message", "100")
        said = only_line(await client.ended())
        ended = await logged.until("session ended")
    assert "too large" in said
    assert "101 bytes" in ended["reason"]


async def test_its_certificate_ends_in_a_live_session(
    asynctls: Daemons, ttp: Any, serving: Any, tmp_path: Path
) -> None:
    seen = []

    async def app(session: Session) -> None:
        seen.append(session.peer.not_after)
        await silent(session)

    async with serving(app) as address:
        # It joins by itself: not before it has started do its seconds count, and it has some for a
        # handshake on a busy machine.
        join_string = await ttp.token("client", lifetime=timedelta(seconds=6))
        client = await asynctls.start(
            *("client", "--state", tmp_path / "client", "--key-type", "ecdsa-p256"),
            *("--connect", address, "--server-name", "server", "--join-file", "-"),
            given=join_string.format(),
        )
        said = only_line(await client.ended())
    (not_after,) = seen
    assert f"the certificate of client ended at {not_after:%Y-%m-%dT%H:%M:%SZ}" in said


async def test_an_app_that_fails_is_told_without_its_details(
    asynctls: Daemons, issued: Any, serving: Any, logged: Any
) -> None:
    async def app(session: Session) -> None:
        raise LookupError("the password is secret")

    async with serving(app) as address:
        client = await asynctls.client(await issued("client"), address)
        said = only_line(await client.ended())
        ended = await logged.until("session ended")
        failed = await logged.until("connection failed")
    assert said == ("asynctls: the peer has ended the session: internal: the application failed")
    assert ended["reason"] == "the app failed: LookupError"
    assert failed["exc_info"]


async def test_a_server_that_vanishes_is_a_truncation(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    gone = asyncio.Event()

    async def app(session: Session) -> None:
        session._channel.abort()
        gone.set()
        await session.receive()

    async with serving(app) as address:
        client = await asynctls.client(await issued("client"), address)
        said = only_line(await client.ended())
    assert gone.is_set()
    assert "lost" in said or "without CLOSE" in said


async def test_nobody_who_speaks_tls(asynctls: Daemons, issued: Any) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()

    async with listening(greet) as address:
        client = await asynctls.client(await issued("client"), str(address))
        said = only_line(await client.ended())
    assert said.startswith(f"asynctls: no TLS connection with the server at {address}: ")
    assert "not TLS" in said


async def test_a_server_that_says_nothing_is_waited_for_as_long_as_was_asked(
    asynctls: Daemons, issued: Any
) -> None:
    async def be_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass

    async with listening(be_silent) as address:
        client = await asynctls.client(
            await issued("client"), str(address), "--connect-timeout", "1s"
        )
        said = only_line(await client.ended())
    assert "within 1 s" in said


async def test_ctrl_c_ends_it_without_a_word(asynctls: Daemons, issued: Any, serving: Any) -> None:
    async with serving(silent) as address:
        client = await asynctls.client(await issued("client"), address)
        await client.event("connected")
        client.signal(signal.SIGINT)
        ended = await client.ended()
    assert (ended.code, ended.out, ended.said) == (130, b"", [])
