"""``client --send -``: each line a message with a receipt, and an orderly end when input ends."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.client.test_ends import only_line

if TYPE_CHECKING:
    from asynctls import Session
    from tests.roles.processes import Daemons

pytestmark = pytest.mark.one_loop


async def echo(session: Session) -> None:
    async for message in session:
        await session.send(message)


async def test_lines_go_out_and_what_comes_back_is_printed(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    lines = "first\n\n  zwölf \t\r\nlast, without an end"
    async with serving(echo) as address:
        client = await asynctls.client(await issued("client"), address, "--send", "-", given=lines)
        ended = await client.ended()
    assert (ended.code, ended.out) == (0, f"{lines}\n".encode())
    assert ended.said == ["Message received"] * 4


async def test_a_line_goes_out_when_it_is_typed(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    async with serving(echo) as address:
        client = await asynctls.client(await issued("client"), address, "--send", "-", given=None)
        await client.give(b"half ")
        await client.give(b"a line\n")
        await client.received(1)
        await client.give(b"and another\n")
        await client.received(2)
        await client.give(b"", end=True)
        ended = await client.ended()
    assert (ended.code, ended.out) == (0, b"half a line\nand another\n")


async def test_no_input_is_an_orderly_end(asynctls: Daemons, issued: Any, serving: Any) -> None:
    async with serving(echo) as address:
        client = await asynctls.client(await issued("client"), address, "--send", "-")
        ended = await client.ended()
    assert (ended.code, ended.out, ended.said) == (0, b"", [])


async def test_more_lines_than_are_under_way_at_once_come_in_order(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    lines = "".join(f"{number}\n" for number in range(300))
    async with serving(echo) as address:
        client = await asynctls.client(await issued("client"), address, "--send", "-", given=lines)
        ended = await client.ended()
    assert ended.code == 0
    assert ended.out == lines.encode()


async def test_whoever_reads_slowly_slows_it_down_and_loses_nothing(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    line = "x" * 200_000 + "\n"
    ours, its = os.pipe()
    async with serving(echo) as address:
        client = await asynctls.client(
            await issued("client"), address, "--send", "-", given=line * 20, stdout=its
        )
        os.close(its)
        await client.event("message verified")
        received = await asyncio.to_thread(read_all, ours)
        ended = await client.ended()
    assert ended.code == 0
    assert received == (line * 20).encode()


def read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.read()


async def test_what_the_server_did_not_take_is_not_called_sent(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    async def take_one(session: Session) -> None:
        await session.receive()

    async with serving(take_one) as address:
        client = await asynctls.client(
            await issued("client"), address, "--send", "-", given="one\ntwo\nthree\n"
        )
        said = only_line(await client.ended())
    assert said == (
        "asynctls: the server ended the session before all of standard input was sent; "
        "2 of the lines sent have no receipt"
    )


async def test_a_line_larger_than_the_server_takes_is_named(asynctls: Daemons, issued: Any) -> None:
    _, address = await asynctls.server(
        await issued("server"), "--app", "echo", "--max-message", "100"
    )
    for words in ((), ("--follow",)):
        client = await asynctls.client(
            await issued("client"), address, "--send", "-", *words, given=f"{'x' * 101}\n"
        )
        ended = await client.ended()
        assert ended.code == 1
        (line,) = ended.said
        assert line.startswith("asynctls: line 1 of standard input was not sent: ")
        assert "101 bytes" in line


async def test_input_that_cannot_be_read(asynctls: Daemons, issued: Any, serving: Any) -> None:
    async with serving(echo) as address:
        identity = await issued("client")
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", 'exec "$0" -m asynctls "$@" 0>/dev/null', sys.executable, "client"),
            *("--state", identity.folder, "--connect", address, "--server-name", "server"),
            *("--send", "-"),
            stderr=asyncio.subprocess.PIPE,
            env=asynctls.environ(),
        )
        _, err = await process.communicate()
    assert process.returncode == 1
    assert err.splitlines()[-1] == b"asynctls: standard input cannot be read: Bad file descriptor"


async def test_standard_input_gives_one_thing(asynctls: Daemons) -> None:
    ended = await asynctls.run("client", "--send", "-", "--join-file", "-", given="line\n")
    assert ended.code == 2
    assert "client.send" in ended.said[0]
    assert "standard input already" in ended.said[0]


@pytest.mark.parametrize("words", [("--send", "file"), ("--send", "")])
async def test_only_standard_input_is_sent(asynctls: Daemons, words: tuple[str, ...]) -> None:
    assert (await asynctls.run("client", *words)).code == 2
