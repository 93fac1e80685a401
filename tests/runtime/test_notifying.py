"""What a service manager is told, heard on a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.errors import StateError
from asynctls.runtime import Signals
from asynctls.runtime.notifying import ServiceManager

if TYPE_CHECKING:
    from pathlib import Path

Events = list[MutableMapping[str, Any]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


class Manager:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)  # noqa: FBT003
        self.socket.bind(address)

    async def hear(self) -> dict[str, str]:
        """The next thing that is told, by name."""
        async with asyncio.timeout(10):
            told = await asyncio.get_running_loop().sock_recv(self.socket, 4096)
        return dict(line.split("=", 1) for line in told.decode().split("\n"))


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    one = Manager(path)
    yield one
    one.socket.close()


async def nothing() -> None:
    pass


async def test_it_is_told_of_start_reload_and_stop(manager: Manager) -> None:
    async with Signals(on_reload=nothing) as signals:
        assert await manager.hear() == {"STATUS": "starting"}
        signals.ready("serving")
        assert await manager.hear() == {"READY": "1", "STATUS": "serving"}
        before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        os.kill(os.getpid(), signal.SIGHUP)
        reloading = await manager.hear()
        assert reloading.pop("RELOADING") == "1"
        after_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert before_us <= int(reloading["MONOTONIC_USEC"]) <= after_us
        assert await manager.hear() == {"READY": "1", "STATUS": "serving"}
        os.kill(os.getpid(), signal.SIGTERM)
        assert await manager.hear() == {"STOPPING": "1", "STATUS": "draining"}


async def test_a_reload_that_failed_is_told_in_one_line(manager: Manager) -> None:
    async def fail() -> None:
        raise StateError("no such\nfile\nREADY=0")

    async with Signals(on_reload=fail) as signals:
        signals.ready("serving")
        await manager.hear()
        await manager.hear()
        os.kill(os.getpid(), signal.SIGHUP)
        assert "RELOADING" in await manager.hear()
        told = await manager.hear()
        assert told == {"READY": "1", "STATUS": "serving; reload failed: no such file READY=0"}


async def test_a_reload_before_all_is_ready_does_not_say_ready(manager: Manager) -> None:
    reloaded = asyncio.Event()

    async def reload() -> None:
        reloaded.set()

    async with asyncio.timeout(10), Signals(on_reload=reload) as signals:
        assert await manager.hear() == {"STATUS": "starting"}
        os.kill(os.getpid(), signal.SIGHUP)
        await reloaded.wait()
        signals.ready("serving")
        assert await manager.hear() == {"READY": "1", "STATUS": "serving"}


async def test_the_watchdog_hears_twice_as_often_as_it_wants_while_all_answers(
    manager: Manager, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    answers = True
    asked = 0

    def alive() -> bool:
        nonlocal asked
        asked += 1
        return answers

    started = time.monotonic()
    async with asyncio.timeout(20), Signals(on_reload=nothing, alive=alive) as signals:
        assert await manager.hear() == {"STATUS": "starting"}
        for _ in range(3):
            assert await manager.hear() == {"WATCHDOG": "1"}
        assert time.monotonic() - started >= 0.1
        answers, seen = False, asked
        await until(lambda: asked >= seen + 3)
        while True:
            try:
                assert manager.socket.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                break
        signals.ready("serving")
        assert await manager.hear() == {"READY": "1", "STATUS": "serving"}


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    environ = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}
    assert ServiceManager.taken_from(environ, pid=2).watchdog_s is None
    assert environ == {}
    environ = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "2"}
    assert ServiceManager.taken_from(environ, pid=2).watchdog_s == 1.0


async def test_an_abstract_socket_is_heard_at_and_no_child_is_told_of_it() -> None:
    name = f"asynctls-test-{os.getpid()}"
    one = Manager(f"\0{name}")
    environ = {"NOTIFY_SOCKET": f"@{name}", "HOME": "/"}
    try:
        ServiceManager.taken_from(environ, pid=1).ready("x" * 1000)
        assert len((await one.hear())["STATUS"]) == 200
    finally:
        one.socket.close()
    assert environ == {"HOME": "/"}


def test_a_manager_that_is_gone_ends_nothing(tmp_path: Path, events: Events) -> None:
    ServiceManager(str(tmp_path / "nobody")).ready("serving")
    ServiceManager().ready("serving")
    ServiceManager.taken_from({"NOTIFY_SOCKET": "vsock:2:1"}, pid=1).ready("serving")
    (event,) = events
    assert (event["event"], event["what"]) == ("service manager not told", "READY=1")
