"""A context lives as long as it may, and no longer."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from asynctls.enrolment.credentials import (
    LONGEST_LIFE,
    Credentials,
    FreshCredentials,
    KnownPeer,
)
from asynctls.errors import CertificateError

START = datetime(2030, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def build() -> Credentials:
    return Credentials(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), b"")


async def test_it_is_the_same_one_for_an_hour() -> None:
    clock = Clock()
    fresh = FreshCredentials(build, clock=clock)
    first = await fresh.get()
    clock.now += LONGEST_LIFE - timedelta(seconds=1)
    assert await fresh.get() is first
    clock.now += timedelta(seconds=1)
    assert await fresh.get() is not first


async def test_a_clock_that_is_set_back_does_not_make_its_life_longer() -> None:
    clock = Clock()
    fresh = FreshCredentials(build, clock=clock)
    first = await fresh.get()
    clock.now -= timedelta(seconds=1)
    second = await fresh.get()
    assert second is not first
    assert await fresh.get() is second


async def test_it_does_not_outlive_a_certificate_that_it_admitted() -> None:
    clock = Clock()
    fresh = FreshCredentials(build, clock=clock)
    first = await fresh.get()
    fresh.note_admitted(START + timedelta(seconds=5))
    fresh.note_admitted(START + timedelta(minutes=5))
    clock.now += timedelta(seconds=4)
    assert await fresh.get() is first
    clock.now += timedelta(seconds=1)
    second = await fresh.get()
    assert second is not first
    clock.now += timedelta(minutes=10)
    assert await fresh.get() is second


async def test_it_is_replaced_when_what_it_was_built_from_changes() -> None:
    fresh = FreshCredentials(build, clock=Clock())
    first = await fresh.get()
    fresh.retire()
    assert await fresh.get() is not first


async def test_many_that_ask_at_once_get_one_context() -> None:
    built = 0

    def slowly() -> Credentials:
        nonlocal built
        built += 1
        return build()

    fresh = FreshCredentials(slowly, clock=Clock())
    handed_out = await asyncio.gather(*(fresh.get() for _ in range(20)))
    assert len(set(map(id, handed_out))) == built == 1


async def test_a_change_while_it_is_built_is_not_missed() -> None:
    content = ["old"]
    used: list[str] = []
    loop = asyncio.get_running_loop()

    def change_meanwhile() -> Credentials:
        used.append(content[0])
        if content[0] == "old":
            content[0] = "new"
            loop.call_soon_threadsafe(fresh.retire)
        return build()

    fresh = FreshCredentials(change_meanwhile, clock=Clock())
    await fresh.get()
    assert used == ["old", "new"]


async def test_the_last_good_one_stays_while_none_can_be_built() -> None:
    clock = Clock()
    faults: list[CertificateError] = []
    tries = 0

    def perhaps() -> Credentials:
        nonlocal tries
        tries += 1
        if faults:
            raise faults[0]
        return build()

    fresh = FreshCredentials(perhaps, clock=clock)
    faults.append(CertificateError("no"))
    with pytest.raises(CertificateError):
        await fresh.get()
    faults.clear()
    first = await fresh.get()
    faults.append(CertificateError("no"))
    fresh.retire()
    assert await fresh.get() is first
    assert await fresh.get() is first
    assert tries == 3
    clock.now += timedelta(seconds=10)
    faults.clear()
    assert await fresh.get() is not first


@pytest.mark.parametrize("why", ["retired", "an hour old"])
async def test_one_that_should_be_replaced_and_cannot_resumes_nobody(why: str) -> None:
    clock = Clock()
    faults: list[CertificateError] = []

    def perhaps() -> Credentials:
        if faults:
            raise faults[0]
        return build()

    fresh = FreshCredentials(perhaps, clock=clock)
    held = await fresh.get()
    held.known["a server"] = KnownPeer(cast("ssl.SSLSession", None), b"")
    assert (await fresh.get()).known
    faults.append(CertificateError("no"))
    if why == "retired":
        fresh.retire()
    else:
        clock.now += LONGEST_LIFE
    assert await fresh.get() is held
    assert not held.known


async def test_a_context_whose_session_cache_grows_is_replaced() -> None:
    class Full(ssl.SSLContext):
        def session_stats(self) -> dict[str, int]:
            return {"number": 257}

    def fill() -> Credentials:
        return Credentials(Full(ssl.PROTOCOL_TLS_SERVER), b"")

    fresh = FreshCredentials(fill, clock=Clock())
    assert await fresh.get() is not await fresh.get()
