"""Workers as processes: kept, counted, reloaded, ended; and what one of them hears."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from asynctls.config import Address
from asynctls.errors import ConfigError, WorkerError, WorkerStartError
from asynctls.runtime import listen
from asynctls.runtime.channel import (
    Abort,
    Accepting,
    Answer,
    Ask,
    Changed,
    Channel,
    Family,
    Reload,
    Reloaded,
    Report,
    Sample,
    Stop,
    Wanted,
)
from asynctls.runtime.orders import Orders, appointment
from asynctls.runtime.reserving import Reserved, reserve
from asynctls.runtime.supervisor import Supervisor

# Of what no message has, and what is skipped therefore, but not without end.
TOO_DEEP = b"\0\0\x13\x8e" + b'{"x":' + b"[" * 5001

Events = list[MutableMapping[str, Any]]
Until = Callable[[Callable[[], object]], Awaitable[None]]

# Says its number to whoever connects; by its config it fails, or does not reload.
WORKER = """
import asyncio, os, sys
from datetime import timedelta
from asynctls.config import Address
from asynctls.errors import StateError
from asynctls.runtime import Connections, listen, run, serve_until_stopped
from asynctls.runtime.channel import Family, Sample
from asynctls.runtime.inherited import inherit
from asynctls.runtime.orders import Orders, appointment
mine = appointment(os.environ)
if mine.config == "fail":
    sys.exit(2)
if mine.config == "hang":
    mine.channel.recv(1)
said, heard = mine.config, ""
async def serve(reader, writer):
    writer.write(f"{mine.worker} {said} {os.getpid()} {heard}".encode())
def changed(crl):
    global heard
    heard = crl
async def reload(config):
    global said
    if config == "bad" and mine.worker == 2:
        raise StateError("not that one")
    said = config
async def count():
    return [Family("served", "What was served.", "gauge", [Sample("served", {}, mine.worker)])]
async def main():
    inherit(mine.sockets)
    async with Orders(
        mine.channel, on_changed=changed, on_reload=reload, on_count=count
    ) as orders:
        async with Connections() as connections:
            async with listen(
                Address("192.0.2.1", 1), connections.served_by(serve), role="server"
            ) as listener:
                await serve_until_stopped(
                    orders, listener, connections, drain=lambda: timedelta(seconds=5)
                )
run(main())
"""
HERE = Address("127.0.0.1", 0)
only_where_shared = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux shares out the connections of an address"
)


def supervisor(config: str, reserved: Reserved, *, count: int = 2) -> Supervisor:
    return Supervisor(
        (sys.executable, "-W", "error", "-c", WORKER),
        count=count,
        reserved=[reserved],
        config=pickle.dumps(config),
        on_wanted=lambda: None,
    )


async def visit(address: Address) -> list[str]:
    """Which worker answers, what its config is, and its process."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        return (await reader.read()).decode().split()
    finally:
        writer.close()
        await writer.wait_closed()


async def seen(address: Address, wanted: set[str]) -> dict[str, tuple[str, int]]:
    """Asks until each worker has answered once."""
    found: dict[str, tuple[str, int]] = {}
    while found.keys() != wanted:
        number, config, pid = await visit(address)
        found[number] = (config, int(pid))
    return found


@asynccontextmanager
async def reserved() -> AsyncIterator[Reserved]:
    one = await reserve(HERE, role="server", setting="listen")
    try:
        yield one
    finally:
        one.close()


@only_where_shared
async def test_a_killed_worker_is_replaced_and_the_others_never_stopped(
    events: Events, until: Until
) -> None:
    async with asyncio.timeout(50), reserved() as here:
        (address,) = here.addresses
        workers = supervisor("hello", here)
        async with workers.running():
            before = await seen(address, {"1", "2"})
            assert {config for config, _ in before.values()} == {"hello"}
            assert workers.accepting == 2
            numbers = {
                number: families[0].samples[0].value
                for number, families in (await workers.counted()).items()
            }
            assert numbers == {1: 1.0, 2: 2.0}
            assert workers.alive()

            os.kill(before["1"][1], signal.SIGKILL)
            await until(lambda: workers.accepting == 1)
            # Whoever comes meanwhile is served: nothing is left in a dead worker's queue.
            assert all([await visit(address) for _ in range(20)])
            await until(lambda: workers.accepting == 2)
            after = await seen(address, {"1", "2"})
            assert after["2"] == before["2"]
            assert after["1"][1] != before["1"][1]
            assert (workers.restarts, workers.alive()) == (1, True)
            await workers.drain(timedelta(seconds=5), aborting=asyncio.Event())
            assert workers.accepting == 0
    ended = [event for event in events if event["event"] == "worker ended"]
    assert [(event["worker"], event["how"]) for event in ended] == [(1, "killed by SIGKILL")]


@only_where_shared
@pytest.mark.one_loop
async def test_one_that_dies_again_and_again_is_started_ever_later(
    events: Events, until: Until
) -> None:
    async with asyncio.timeout(50), reserved() as here:
        workers = supervisor("hello", here, count=1)
        async with workers.running():
            for deaths in range(1, 4):
                await until(lambda: workers.accepting == 1)
                os.kill(int((await visit(here.addresses[0]))[2]), signal.SIGKILL)
                await until(partial(lambda count: workers.restarts == count, deaths))
    pauses = [event["again_in_s"] for event in events if event["event"] == "worker ended"]
    # Each twice as long, a quarter more or less.
    assert pauses[0] == pytest.approx(0.1, abs=0.06)
    assert pauses[2] == pytest.approx(0.4, abs=0.11)


@only_where_shared
async def test_all_workers_take_a_config_or_none_does(until: Until) -> None:
    async with asyncio.timeout(50), reserved() as here:
        (address,) = here.addresses
        workers = supervisor("first", here)
        async with workers.running():
            await workers.reload(pickle.dumps("second"))
            with pytest.raises(WorkerError, match="worker 2: not that one"):
                await workers.reload(pickle.dumps("bad"))
            found = await seen(address, {"1", "2"})
            assert {config for config, _ in found.values()} == {"second"}
            # One that hangs shows.
            os.kill(found["1"][1], signal.SIGSTOP)
            assert workers.alive()
            assert not workers.alive()
            assert set(await workers.counted()) == {2}
            os.kill(found["1"][1], signal.SIGCONT)
            await until(workers.alive)


@only_where_shared
async def test_a_worker_that_is_started_later_hears_the_last_crls_too(until: Until) -> None:
    async with asyncio.timeout(50), reserved() as here:
        workers = supervisor("hello", here, count=1)
        async with workers.running():
            workers.changed("CRLs")
            pid = (await visit(here.addresses[0]))[2]
            os.kill(int(pid), signal.SIGKILL)
            await until(lambda: workers.accepting == 0)
            await until(lambda: workers.accepting == 1)
            assert (await visit(here.addresses[0]))[3:] == ["CRLs"]


@only_where_shared
async def test_a_worker_that_was_just_being_started_has_the_config_of_a_reload_too() -> None:
    async with asyncio.timeout(50), reserved() as here:
        workers = supervisor("first", here, count=1)
        async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
            starting = group.create_task(stack.enter_async_context(workers.running()))
            # Its process is asked for by now, and no order can reach it yet.
            for _ in range(3):
                await asyncio.sleep(0)
            await workers.reload(pickle.dumps("second"))
            await starting
            assert (await visit(here.addresses[0]))[1] == "second"


async def test_a_fault_at_the_start_ends_the_supervisor_with_the_workers_code(
    events: Events,
) -> None:
    async with asyncio.timeout(50), reserved() as here:
        with pytest.raises(WorkerStartError) as ended:
            async with supervisor("fail", here, count=8).running():
                pass
    assert ended.value.code == 2
    assert [event["worker"] for event in events if event["event"] == "worker started"] == [1]


async def test_a_worker_that_hangs_before_it_accepts_is_killed_and_ends_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("asynctls.runtime.supervisor._START_S", 2.0)
    async with asyncio.timeout(50), reserved() as here:
        with pytest.raises(WorkerError, match=r"did not come to accept.*within 2 s"):
            async with supervisor("hang", here).running():
                pass


async def test_an_address_that_another_program_listens_on_is_not_shared_with_it() -> None:
    async with listen(HERE, lambda _r, _w: None, role="server") as listener:
        with pytest.raises(ConfigError, match=r"server\.listen.*in use"):
            await reserve(listener.address, role="server", setting="listen")


class Heard:
    """A worker's orders, on the loop of the test, and the supervisor's end of its channel."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.configs: list[object] = []

    @asynccontextmanager
    async def orders(self) -> AsyncIterator[tuple[Orders, Channel[Report]]]:
        async def reload(config: object) -> None:
            self.configs.append(config)
            if config == "bad":
                raise WorkerError("not that one")
            if config == "bug":
                raise ZeroDivisionError

        async def count() -> list[Family]:
            return [Family("a", "b", "counter", [Sample("a_total", {"c": "d"}, 1.0)])]

        ours, its = socket.socketpair()
        async with (
            asyncio.timeout(20),
            await Channel.to_worker(ours) as channel,
            Orders(its, on_changed=self.changed.append, on_reload=reload, on_count=count) as orders,
        ):
            yield orders, channel


async def test_an_order_to_a_worker_that_has_ended_is_lost() -> None:
    ours, its = socket.socketpair()
    with its:
        async with await Channel.to_worker(ours) as channel:
            pass
    channel.send(Stop())


@pytest.fixture
def signals_as_before() -> Any:
    numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals_as_before")
async def test_a_worker_hears_and_answers_in_order(until: Until, events: Events) -> None:
    heard = Heard()
    async with heard.orders() as (orders, channel):
        for order in (
            Changed("CRLs"),
            Ask(count=True),
            Ask(count=False),
            Reload(pickle.dumps("good")),
            Reload(pickle.dumps("bad")),
            Reload(pickle.dumps("bug")),
        ):
            channel.send(order)
        answer = await channel.receive()
        assert answer == Answer([Family("a", "b", "counter", [Sample("a_total", {"c": "d"}, 1.0)])])
        assert await channel.receive() == Answer([])
        told = [await channel.receive() for _ in range(3)]
        assert told == [Reloaded(None), Reloaded("not that one"), Reloaded("ZeroDivisionError")]
        assert (heard.changed, heard.configs) == (["CRLs"], ["good", "bad", "bug"])
        orders.ready("serving")
        orders.want()
        assert [await channel.receive(), await channel.receive()] == [Accepting(), Wanted()]
        channel.send(Stop())
        await orders.stopping.wait()
        assert not orders.aborting.is_set()
        channel.send(Abort())
        await orders.aborting.wait()


@pytest.mark.usefixtures("signals_as_before")
async def test_a_worker_takes_no_ctrl_c_and_two_terms_are_one() -> None:
    async with Heard().orders() as (orders, _):
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert not orders.stopping.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        await orders.stopping.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        assert not orders.aborting.is_set()


@pytest.mark.usefixtures("signals_as_before")
async def test_a_worker_drains_when_its_supervisor_is_gone(events: Events) -> None:
    ours, its = socket.socketpair()

    async def nothing(*_: object) -> Any:
        raise AssertionError

    async with (
        asyncio.timeout(20),
        Orders(its, on_changed=lambda crl: None, on_reload=nothing, on_count=nothing) as orders,
    ):
        ours.close()
        await orders.stopping.wait()
        assert not orders.aborting.is_set()
        orders.want()
    assert events[-1]["reason"] == "the supervisor is gone"


@pytest.mark.parametrize(
    "said",
    [b"", b"\0\0\0\2{}", b"\xff\xff\xff\xff", b"\0\0\0\5", b'\0\0\0\4{"\xff"', TOO_DEEP],
)
def test_what_is_no_first_order_ends_a_worker(said: bytes) -> None:
    ours, its = socket.socketpair()
    with ours:
        ours.sendall(said)
        ours.shutdown(socket.SHUT_WR)
        mark = {"ASYNCTLS_CHANNEL": str(its.detach())}
        with pytest.raises(WorkerError):
            appointment(mark)
    assert mark == {}


def test_only_a_supervisor_makes_a_worker() -> None:
    assert appointment({}) is None
    for mark in ("x", "900"):
        with pytest.raises(WorkerError, match="unset it"):
            appointment({"ASYNCTLS_CHANNEL": mark})


@pytest.mark.parametrize(
    "said",
    [
        b"\0\0\0\2{}",
        b'\0\0\0\x0f{"type":"Stop"}',
        b"\x7f\0\0\0",
        b'\0\0\0\4{"\xff"',
        TOO_DEEP,
    ],
)
async def test_what_is_no_report_is_named(said: bytes) -> None:
    ours, its = socket.socketpair()
    with its:
        async with await Channel.to_worker(ours) as channel:
            its.sendall(said)
            with pytest.raises(WorkerError):
                await channel.receive()
