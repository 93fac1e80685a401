"""Places for handshakes and for lingering closes; handshakes themselves are in test_stream."""

from __future__ import annotations

import asyncio

from asynctls.tls import Gate


def test_lingering_closes_are_counted() -> None:
    gate = Gate(1, lingering=1)
    with gate.linger() as first, gate.linger() as second:
        assert (first, second) == (True, False)
    with gate.linger() as again:
        assert again


def test_one_address_has_half_of_the_lingering_closes() -> None:
    gate = Gate(1, lingering=4)
    with gate.linger("a"), gate.linger("a"), gate.linger("a") as third, gate.linger("b") as other:
        assert (third, other) == (False, True)
    with gate.linger("a") as again:
        assert again


async def test_one_address_has_half_of_the_places_and_waits_by_itself() -> None:
    gate = Gate(4)
    begun: asyncio.Queue[str] = asyncio.Queue()
    enough = asyncio.Event()

    async def shake(network: str) -> None:
        async with gate.handshake(network):
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


async def test_whoever_waits_for_its_share_can_be_cancelled() -> None:
    gate = Gate(2)

    async def shake() -> None:
        async with gate.handshake("a"):
            raise AssertionError("there was a place")

    async with gate.handshake("a"):
        waiting = asyncio.create_task(shake())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
    async with asyncio.timeout(10), gate.handshake("a"):
        assert gate.under_way == 1
