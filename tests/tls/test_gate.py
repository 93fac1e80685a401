"""Places for handshakes and for lingering closes; handshakes themselves are in test_stream."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from asynctls.tls import Gate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def test_lingering_closes_are_counted() -> None:
    gate = Gate(1, lingering=1)
    assert [gate.closes.take(None), gate.closes.take(None)] == [True, False]
    gate.closes.leave(None)
    assert gate.closes.take(None)


def test_one_address_has_half_of_the_lingering_closes() -> None:
    gate = Gate(1, lingering=4)
    assert [gate.closes.take(network) for network in "aaab"] == [True, True, False, True]
    gate.closes.leave("a")
    assert gate.closes.take("a")


@asynccontextmanager
async def place(gate: Gate, network: str | None) -> AsyncIterator[None]:
    """A place, waited for, for as long as the context lasts."""
    waiting = gate.enter(network)
    if waiting is not None:
        try:
            await waiting
        except asyncio.CancelledError:
            gate.withdraw(waiting, network)
            raise
    try:
        yield
    finally:
        gate.leave(network)


async def test_one_address_has_half_of_the_places_and_waits_by_itself() -> None:
    gate = Gate(4)
    begun: asyncio.Queue[str] = asyncio.Queue()
    enough = asyncio.Event()

    async def shake(network: str) -> None:
        async with place(gate, network):
            begun.put_nowait(network)
            await enough.wait()

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        for network in "aaaabb":
            tasks.create_task(shake(network))
        assert sorted([await begun.get() for _ in range(4)]) == ["a", "a", "b", "b"]
        assert gate.under_way == 4
        enough.set()
    assert [begun.get_nowait() for _ in range(2)] == ["a", "a"]
    assert gate.under_way == 0


async def test_those_who_wait_are_served_by_turns_an_address_after_the_other() -> None:
    gate = Gate(1)
    assert gate.enter("z") is None
    waiting = {name: gate.enter(name[0]) for name in ("a1", "a2", "a3", "b1")}
    served: list[str] = []
    before = "z"
    while waiting:
        gate.leave(before)
        (name,) = [name for name, its in waiting.items() if its is not None and its.done()]
        served.append(name)
        before = name[0]
        del waiting[name]
    assert served == ["a1", "b1", "a2", "a3"]


async def test_a_peer_without_an_address_may_have_all_places() -> None:
    gate = Gate(2)
    assert gate.enter(None) is None
    assert gate.enter(None) is None
    assert gate.enter(None) is not None


@pytest.mark.parametrize("late", [False, True], ids=["waiting", "called already"])
async def test_whoever_waits_no_longer_is_in_nobodys_way(late: bool) -> None:  # noqa: FBT001
    gate = Gate(2)
    assert gate.enter("a") is None
    waiting = gate.enter("a")
    assert waiting is not None
    if late:
        gate.leave("a")
        assert waiting.done()
    gate.withdraw(waiting, "a")
    assert gate.under_way == (0 if late else 1)
    if not late:
        gate.leave("a")
    assert gate.enter("a") is None
    assert gate.under_way == 1
