"""Real signals, to this process and to others."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from asynctls.errors import StateError
from asynctls.runtime import Signals

Events = list[MutableMapping[str, Any]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


async def nothing() -> None:
    pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_stops_and_the_second_aborts(
    number: signal.Signals, events: Events
) -> None:
    async with asyncio.timeout(10), Signals(on_reload=nothing) as signals:
        assert not signals.stopping.is_set()
        os.kill(os.getpid(), number)
        await signals.stopping.wait()
        assert not signals.aborting.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        await signals.aborting.wait()
    assert [event["event"] for event in events] == ["stopping", "ending at once"]
    assert events[0]["signal"] == number.name


async def test_what_was_set_before_is_set_again_at_the_end(until: Until) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    seen: list[int] = []

    def mine(number: int, _frame: object) -> None:
        seen.append(number)

    first = signal.signal(signal.SIGTERM, mine)
    try:
        before = [signal.getsignal(number) for number in numbers]
        async with Signals(on_reload=nothing):
            assert [signal.getsignal(number) for number in numbers] != before
        assert [signal.getsignal(number) for number in numbers] == before
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: seen)
    finally:
        signal.signal(signal.SIGTERM, first)


async def test_no_task_outlives_the_context() -> None:
    before = asyncio.all_tasks()
    async with Signals(on_reload=nothing):
        pass
    assert asyncio.all_tasks() == before


async def test_reloads_follow_one_another_and_a_burst_is_one_more(until: Until) -> None:
    calls = 0
    under_way = 0
    entered = asyncio.Event()
    go_on = asyncio.Event()
    again = asyncio.Event()

    async def reload() -> None:
        nonlocal calls, under_way
        calls += 1
        under_way += 1
        assert under_way == 1
        if calls == 1:
            entered.set()
            await go_on.wait()
        else:
            again.set()
        under_way -= 1

    async with asyncio.timeout(10), Signals(on_reload=reload) as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        await entered.wait()
        for _ in range(5):
            os.kill(os.getpid(), signal.SIGHUP)
        await until(signals._reload_wanted.is_set)
        go_on.set()
        await again.wait()
        await asyncio.sleep(0)
    assert calls == 2


@pytest.mark.parametrize("error", [StateError("no such file"), ValueError("a bug")])
async def test_a_failed_reload_is_logged_and_the_next_one_runs(
    error: Exception, events: Events
) -> None:
    calls = asyncio.Queue[None]()

    async def reload() -> None:
        calls.put_nowait(None)
        raise error

    async with asyncio.timeout(10), Signals(on_reload=reload) as signals:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            await calls.get()
        assert not signals.stopping.is_set()
    failed = [event for event in events if event["event"] == "reload failed"]
    assert len(failed) == 2
    assert ("exc_info" in failed[0]) is isinstance(error, ValueError)


async def test_work_is_done_unless_a_signal_stops_it() -> None:
    cleaned = False

    async def give() -> int:
        return 7

    async def fail() -> None:
        raise StateError("mine")

    async def last() -> int:
        nonlocal cleaned
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
            return 1
        finally:
            cleaned = True

    async with asyncio.timeout(10), Signals(on_reload=nothing) as signals:
        assert await signals.unless_stopping(give()) == 7
        with pytest.raises(StateError):
            await signals.unless_stopping(fail())
        assert await signals.unless_stopping(last()) is None
        assert cleaned


async def test_work_is_cancelled_with_whoever_waits_for_it() -> None:
    started = asyncio.Event()
    cleaned = False

    async def last() -> None:
        nonlocal cleaned
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned = True

    async with Signals(on_reload=nothing) as signals:
        waiting = asyncio.create_task(signals.unless_stopping(last()))
        await started.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert cleaned
