"""What the client writes to standard output, whatever it was sent."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.admission import Peer
from asynctls.client.printing import Printer

if TYPE_CHECKING:
    from asynctls import Session
    from asynctls.enrolment import Identity
    from asynctls.server import App
    from asynctls.testing import CA
    from tests.roles.processes import Daemons

pytestmark = pytest.mark.one_loop

ESCAPES = b"\x1b[2J\x1b]0;owned\x07pay\x08\x7f \xc2\x9b31m now\rgone\nsecond\tline \xff"


def sending(*messages: bytes) -> App:
    async def app(session: Session) -> None:
        for message in messages:
            await session.send(message, receipt=True)

    return app


async def on_a_terminal(
    asynctls: Daemons, identity: Identity, address: str, *words: str
) -> tuple[int, str]:
    """The client with a pseudo-terminal as its standard output: exit code, what is shown."""
    ours, its = os.openpty()
    client = await asynctls.client(identity, address, *words, stdout=its)
    os.close(its)
    shown = b""
    try:
        # A terminal whose other end is closed is an error on Linux, an end elsewhere.
        while chunk := await asyncio.to_thread(os.read, ours, 65536):
            shown += chunk
    except OSError:
        pass
    finally:
        os.close(ours)
    return (await client.ended()).code, shown.decode()


async def test_on_a_terminal_no_escape_of_a_message_does_anything(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    async with serving(sending(ESCAPES)) as address:
        code, shown = await on_a_terminal(asynctls, await issued("client"), address)
    assert code == 0
    assert shown.splitlines() == [
        r"\x1b[2J\x1b]0;owned\x07pay\x08\x7f \x9b31m now\rgone",
        r"second" + "\t" + r"line \xff",
    ]


async def test_on_a_terminal_json_has_no_escape_either(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    async with serving(sending(ESCAPES)) as address:
        code, shown = await on_a_terminal(asynctls, await issued("client"), address, "--json")
    assert code == 0
    (line,) = shown.splitlines()
    assert line.isprintable(), line
    assert json.loads(line)["message"].endswith(r"\xff")


@pytest.mark.parametrize(
    "message",
    [ESCAPES, b"\xff\xfe\x00not text", b"", bytes(range(256)) * 4096],
    ids=["escapes", "not UTF-8", "empty", "1 MiB"],
)
async def test_into_a_pipe_goes_each_message_byte_for_byte(
    asynctls: Daemons, issued: Any, serving: Any, message: bytes
) -> None:
    async with serving(sending(message, b"and another")) as address:
        client = await asynctls.client(await issued("client"), address)
        ended = await client.ended()
    assert ended.code == 0
    assert ended.out == message + b"\n" + b"and another\n"
    assert ended.said == ["Message received"] * 2
    verified = [event["bytes"] for event in client.named("message verified")]
    assert verified == [len(message), len(b"and another")]


async def test_json_is_one_object_a_line_with_who_sent_it(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    async with serving(sending("zwölf\nzeilen".encode(), b"\xff", b"")) as address:
        client = await asynctls.client(await issued("client"), address, "--json")
        ended = await client.ended()
    received = [json.loads(line) for line in ended.out.splitlines()]
    assert [each["message"] for each in received] == ["zwölf\nzeilen", r"\xff", ""]
    assert {each["peer"] for each in received} == {"server"}
    assert len(received[0]["serial"]) >= 32


async def test_a_session_without_a_message_ends_well_and_prints_nothing(
    asynctls: Daemons, issued: Any, serving: Any
) -> None:
    async with serving(sending()) as address:
        ended = await (await asynctls.client(await issued("client"), address)).ended()
    assert (ended.code, ended.out, ended.said) == (0, b"", [])


async def test_a_message_whose_receipt_is_out_is_written_though_the_session_is_cut(
    ca: CA, capfd: pytest.CaptureFixture[str]
) -> None:
    printer, peer = Printer(as_json=False), Peer.of(ca.identity("server").certificate)
    free = threading.Event()
    busy = printer._thread.call(free.wait)
    writing = asyncio.create_task(printer.write(b"taken", peer=peer))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.sleep(0)
    free.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await busy
    assert capfd.readouterr().out == "taken\n"
