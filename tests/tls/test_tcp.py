"""Connecting by TCP: a name is looked up where nobody waits for a lookup that hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
import uvloop

from asynctls.config import Address
from asynctls.tls.tcp import look_up, open_tcp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = Address("nobody.test", 1)
# Longer than anything here takes that does not wait for it.
HANGS_S = 10.0


class Resolver:
    """What the system's is, as the test would have it."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.answer = threading.Event()
        self.found: list[str] = []

    def getaddrinfo(self, host: str, port: int, **_options: object) -> list[object]:
        self.asked.append(host)
        self.answer.wait(HANGS_S)
        if not self.found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in self.found]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.answer.set()
    for each in threading.enumerate():
        if each.name == "lookup":
            each.join()


@pytest.mark.parametrize("factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_a_lookup_that_hangs_keeps_no_loop_from_ending(
    resolver: Resolver, factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await open_tcp(NOBODY)

    begun = time.monotonic()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(give_up())
    assert time.monotonic() - begun < HANGS_S / 2
    assert resolver.asked == [NOBODY.host]


async def test_who_asks_for_a_name_meanwhile_waits_for_the_same_answer(resolver: Resolver) -> None:
    first = asyncio.create_task(open_tcp(NOBODY))
    others = [asyncio.create_task(open_tcp(NOBODY)) for _ in range(20)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first,))
    resolver.answer.set()
    for each in await asyncio.gather(*others, return_exceptions=True):
        assert isinstance(each, socket.gaierror)
    assert resolver.asked == [NOBODY.host]
    # What was found is kept for nobody who comes later.
    with pytest.raises(socket.gaierror):
        await open_tcp(NOBODY)
    assert len(resolver.asked) == 2


async def test_an_address_is_not_looked_up(resolver: Resolver) -> None:
    with pytest.raises(ConnectionRefusedError):
        await open_tcp(Address("127.0.0.1", 1))
    with pytest.raises(OSError, match=r".") as told:
        await open_tcp(Address("::1", 1))
    assert not isinstance(told.value, socket.gaierror)
    assert resolver.asked == []


async def test_each_address_of_a_name_is_tried_in_turn(resolver: Resolver) -> None:
    resolver.answer.set()
    listener = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        resolver.found = ["127.0.0.2", "127.0.0.1"]
        reader, writer = await open_tcp(Address("somebody.test", port))
        assert writer.get_extra_info("peername")[0] == "127.0.0.1"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await open_tcp(Address("somebody.test", port))


async def test_where_to_listen_is_found_in_the_same_way(resolver: Resolver) -> None:
    resolver.answer.set()
    resolver.found = ["127.0.0.1"]
    ((family, where),) = await look_up("here.test", 7, flags=socket.AI_PASSIVE)
    assert (family, where) == (socket.AF_INET, ("127.0.0.1", 7))
