"""Services of one role: they come, change and go, and whoever is connected stays."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from asynctls.config import Address
from asynctls.errors import ConfigError
from asynctls.runtime import Connections, Services
from asynctls.runtime.places import Places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.runtime.conftest import Events, Until

ANY = Address("127.0.0.1", 0)


@dataclass(frozen=True)
class Greeting:
    word: str
    listen: Address | Path = ANY
    setting: str = "listen"


class Greeter:
    """Says its word to each line."""

    def __init__(self, service: Greeting) -> None:
        self.places = Places()
        self.word = service.word
        self.connections = 0
        self.ended = False

    @property
    def idle(self) -> bool:
        return self.connections == 0

    def take(self, service: Greeting) -> None:
        self.word = service.word

    def go_away(self) -> None:
        """Nobody is told."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readline():
                writer.write(f"{self.word}\n".encode())
        finally:
            self.connections -= 1


class House:
    """A role with greetings."""

    def __init__(self, events: Events) -> None:
        self.greeters: list[Greeter] = []
        self.connections = Connections()
        self.services = Services(self.connections, self._start, role="server")
        self._events = events

    def _start(self, service: Greeting) -> AbstractAsyncContextManager[Greeter]:
        @asynccontextmanager
        async def running() -> AsyncIterator[Greeter]:
            greeter = Greeter(service)
            self.greeters.append(greeter)
            try:
                yield greeter
            finally:
                greeter.ended = True

        return running()

    async def become(self, *services: Greeting) -> None:
        async with self.services.changing(services) as take:
            take()

    @property
    def addresses(self) -> list[Address]:
        """Of all that ever listened."""
        texts = [e["address"] for e in self._events if e["event"] == "listening"]
        return [Address.parse(text) for text in texts]


@pytest.fixture
async def house(events: Events) -> AsyncIterator[House]:
    house = House(events)
    async with asyncio.timeout(20), house.connections, house.services:
        yield house
    assert all(greeter.ended for greeter in house.greeters)


class Guest:
    """Connects to a greeter, and asks it."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def __aenter__(self) -> Guest:
        where = (self._address.host, self._address.port)
        self._reader, self._writer = await asyncio.open_connection(*where)
        return self

    async def __aexit__(self, *_raised: object) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def asks(self) -> str:
        self._writer.write(b"?\n")
        return (await self._reader.readline()).decode().strip()


async def test_one_that_is_there_is_changed_and_others_come_and_go(
    house: House, until: Until
) -> None:
    await house.become(Greeting("one"), Greeting("two"))
    one, two = house.addresses
    async with Guest(one) as at_one, Guest(two) as at_two:
        assert [await at_one.asks(), await at_two.asks()] == ["one", "two"]
        # Both asked for any port: the first keeps its place, the second is gone.
        await house.become(Greeting("changed"), Greeting("new", replace(ANY, host="127.0.0.2")))
        assert [await at_one.asks(), await at_two.asks()] == ["changed", "two"]
        with pytest.raises(ConnectionRefusedError):
            async with Guest(two):
                pass
        async with Guest(house.addresses[2]) as at_new:
            assert await at_new.asks() == "new"
        # As long as it has a guest it runs.
        await house.become(Greeting("changed"))
        assert [greeter.ended for greeter in house.greeters] == [False, False, False]
    await until(lambda: house.greeters[1].idle and house.greeters[2].idle)
    await house.become(Greeting("changed"))
    assert [greeter.ended for greeter in house.greeters] == [False, True, True]


async def test_if_one_of_the_new_cannot_listen_nothing_has_changed(house: House) -> None:
    await house.become(Greeting("one"))
    (one,) = house.addresses
    new = replace(ANY, host="127.0.0.2")
    taken = Greeting("taken", replace(ANY, port=one.port, host="127.0.0.1"), "tunnel[3].listen")
    with pytest.raises(ConfigError) as caught:
        await house.become(Greeting("changed"), Greeting("new", new), taken)
    assert caught.value.faults[0].key == "server.tunnel[3].listen"
    async with Guest(one) as guest:
        assert await guest.asks() == "one"
    with pytest.raises(ConnectionRefusedError):
        async with Guest(house.addresses[1]):
            pass


async def test_what_is_not_taken_is_closed_again(house: House) -> None:
    async with house.services.changing([Greeting("one")]):
        pass
    with pytest.raises(ConnectionRefusedError):
        async with Guest(house.addresses[0]):
            pass


async def test_a_change_that_comes_too_late_opens_nothing(house: House) -> None:
    async with house.services.changing([Greeting("one")]) as take:
        house.services.close()
        take()
    with pytest.raises(ConnectionRefusedError):
        async with Guest(house.addresses[0]):
            pass
