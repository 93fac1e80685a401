"""``asynctls server --workers``: several processes serve one address, and one keeps them."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.errors import RefusedByPeerError
from tests.scraping import ask, scrape

if TYPE_CHECKING:
    from asynctls import Session
    from asynctls.enrolment import Identity
    from asynctls.testing import CA
    from tests.roles.processes import Daemons, Process

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux shares out the connections of an address"
)

ECHO = ("--app", "echo")
TWO = ("--workers", "2")


def pids(server: Process) -> dict[int, int]:
    """The processes that were started last as worker 1, 2 …"""
    return {event["worker"]: event["pid"] for event in server.named("worker started")}


def shown(pid: int) -> str:
    """What others can see of a process: its command line and environment."""
    return "".join(Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ"))


async def echoed(session: Session, word: bytes) -> None:
    await session.send(word)
    assert await session.receive() == word


async def sessions_with_each(
    stack: AsyncExitStack, server: Process, address: str, identity: Identity
) -> dict[int, Session]:
    """An open session with each of two workers: the kernel chooses, so until both have one."""
    found: dict[int, Session] = {}
    while len(found) < 2:
        before = len(server.named("session started"))
        session = await stack.enter_async_context(
            library.connect(address, server_name="server", identity=identity)
        )
        worker = (await server.event("session started", count=before + 1))["worker"]
        found.setdefault(worker, session)
    return found


async def test_a_killed_worker_is_started_again_at_once_and_the_other_never_stopped(
    asynctls: Daemons, issued: Any
) -> None:
    server, address = await asynctls.server(
        await issued("server"), *ECHO, *TWO, "--metrics-listen", "127.0.0.1:0"
    )
    metrics = str((await server.event("metrics served"))["address"])
    assert len(server.named("listening")) == 1
    client = await issued("client")
    async with AsyncExitStack() as stack:
        sessions = await sessions_with_each(stack, server, address, client)
        for session in sessions.values():
            await echoed(session, b"before")
        shown = await scrape(metrics)
        assert shown.value("asynctls_workers") == 2
        started = shown.values("asynctls_sessions_started_total")
        assert set(started) == {("1",), ("2",)}
        assert sum(started.values()) == len(server.named("session started"))
        assert set(shown.values("process_open_fds")) == {(), ("1",), ("2",)}
        assert (await ask(metrics, "/healthz"))[1] == "ok\n"

        killed = pids(server)[1]
        os.kill(killed, signal.SIGKILL)
        ended = await server.event("worker ended")
        assert (ended["worker"], ended["how"]) == (1, "killed by SIGKILL")
        # While it is away and after: nobody is turned away, and the other's session lives on.
        for word in (b"while", b"it", b"is", b"away"):
            async with library.connect(address, server_name="server", identity=client) as another:
                await echoed(another, word)
            await echoed(sessions[2], word)
        back = await server.event("worker serves", count=3)
        assert (back["worker"], pids(server)[1] != killed) == (1, True)
        # A tenth of a second, a quarter more or less; the rest is the time that a process takes to
        # start, which is the machine's.
        assert ended["again_in_s"] <= 0.125
        await echoed(sessions[2], b"after")
        shown = await scrape(metrics)
        assert shown.value("asynctls_workers") == 2
        assert shown.value("asynctls_worker_restarts_total") == 1
    assert (await server.stop()).code == 0


@pytest.mark.one_loop
async def test_the_join_string_reaches_no_worker_and_none_outlives_its_supervisor(
    asynctls: Daemons, ttp: Any, tmp_path: Path
) -> None:
    token = await ttp.token("server")
    secret = token.secret.reveal().decode()
    server = await asynctls.start(
        *("server", "--state", tmp_path / "server", "--listen", "127.0.0.1:0"),
        *("--allow", "client", *TWO, "--join", token.format()),
    )
    await server.event("listening")
    assert secret in shown(server.process.pid)
    for pid in pids(server).values():
        assert secret not in shown(pid)
        # In a session of its own: a terminal's Ctrl-C is for the supervisor alone.
        assert os.getsid(pid) == pid != os.getsid(server.process.pid)
    server.signal(signal.SIGKILL)
    # Its standard error is theirs as well: it ends when the last of them has ended.
    await server.ended()
    assert {event["reason"] for event in server.named("stopping")} == {"the supervisor is gone"}
    assert len(server.named("stopped")) == 2


async def test_a_reload_is_for_all_or_for_none_a_stop_drains_all_and_a_second_one_ends_all(
    asynctls: Daemons, issued: Any
) -> None:
    before = await issued("server")
    server, address = await asynctls.server(before, *ECHO, *TWO)
    whole = before.certificate_file.read_text()
    before.certificate_file.write_text("no certificate")
    server.signal(signal.SIGHUP)
    await server.event("reload failed")
    before.certificate_file.write_text(whole)
    after = await issued("server")
    server.signal(signal.SIGHUP)
    await server.event("reloaded", count=3)
    taken = {event.get("worker"): event["serial"] for event in server.named("identity reloaded")}
    assert taken == dict.fromkeys((None, 1, 2), after.serial)
    async with AsyncExitStack() as stack:
        sessions = await sessions_with_each(stack, server, address, await issued("client"))
        server.signal(signal.SIGINT)
        # A service manager tells all processes.
        for pid in pids(server).values():
            os.kill(pid, signal.SIGTERM)
        await server.event("draining", count=2)
        for session in sessions.values():
            await echoed(session, b"a last word")
        server.signal(signal.SIGTERM)
        assert (await server.ended()).code == 0
        assert len(server.named("ending at once")) == 1


@pytest.mark.one_loop
async def test_what_the_supervisor_learns_counts_with_every_worker(
    asynctls: Daemons, issued: Any, ttp: Any
) -> None:
    server, address = await asynctls.server(
        await issued("server", lifetime=timedelta(seconds=20)), *ECHO, *TWO, "--crl-interval", "1h"
    )
    client = await issued("client")
    async with AsyncExitStack() as stack:
        await sessions_with_each(stack, server, address, client)
        await ttp.authority.revoke("client")
        # No worker knows: one who is refused for another reason has them find out, long before the
        # hour is over.
        stranger = await asynctls.client(await issued("stranger"), address)
        assert (await stranger.ended()).code == 1
        count = len(server.named("session started"))
        await server.event("session ended", count=count)
        ended = server.named("session ended")
        assert {event["worker"] for event in ended} == {1, 2}
        assert all("revoked" in event["reason"] for event in ended), ended
    # Renewed once, by the supervisor, and taken by both.
    renewed = await server.event("certificate renewed")
    await server.event("identity taken from disk", count=2)
    taken = server.named("identity taken from disk")
    assert {event["worker"]: event["serial"] for event in taken} == dict.fromkeys(
        (1, 2), renewed["serial"]
    )
    assert "worker" not in renewed


@pytest.mark.one_loop
async def test_a_fault_that_only_a_worker_finds_ends_the_server_once_said(
    asynctls: Daemons, issued: Any, tmp_path: Path
) -> None:
    # It is imported by the supervisor, and is gone when a worker looks for it.
    module = tmp_path / "home" / "fleeting.py"
    module.write_text(
        "import pathlib\npathlib.Path(__file__).unlink()\nasync def app(session):\n    pass\n"
    )
    ended = await asynctls.run(
        *("server", "--state", (await issued("server")).folder, "--listen", "127.0.0.1:0"),
        *("--allow", "client", "--workers", "3", "--app", "fleeting:app"),
        environ={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert ended.code == 2
    assert len(ended.said) == 1, ended.said
    assert "fleeting" in ended.said[0]


@pytest.mark.one_loop
async def test_several_services_are_served_by_each_worker_and_reload_together(
    asynctls: Daemons, ca: CA, tmp_path: Path
) -> None:
    config = tmp_path / "server.toml"
    folder = ca.identity("server").folder
    client, other = ca.identity("client"), ca.identity("other")

    def write(*listen: str, allow: str) -> None:
        services = (
            f'[[server.tunnel]]\nlisten = "{each}"\napp = "echo"\nallow = ["{allow}"]\n'
            for each in listen
        )
        config.write_text(f'[server]\nstate = "{folder}"\nworkers = 2\n' + "".join(services))

    async def let_in(address: str, identity: Identity) -> bool:
        try:
            async with library.connect(address, server_name="server", identity=identity) as session:
                await echoed(session, b"hello")
        except RefusedByPeerError:
            return False
        return True

    here = "127.0.0.1:0"
    write(here, here, allow="client")
    server = await asynctls.start("server", "--config", config)
    await server.event("listening", count=2)
    addresses = [str(event["address"]) for event in server.named("listening")]
    assert len(set(addresses)) == 2
    assert all([await let_in(each, client) for each in addresses])
    write(here, here, allow="other")
    server.signal(signal.SIGHUP)
    await server.event("reloaded", count=3)
    assert {event.get("worker") for event in server.named("reloaded")} == {None, 1, 2}
    for each in addresses * 3:
        assert await let_in(each, other)
        assert not await let_in(each, client)
    # A worker that comes later has it as well, and what is wrong reaches none.
    os.kill(pids(server)[1], signal.SIGKILL)
    await server.event("worker serves", count=3)
    write(here, here, here, allow="client")
    server.signal(signal.SIGHUP)
    failed = await server.event("reload failed")
    assert "needs a restart" in str(failed["error"])
    for each in addresses * 3:
        assert await let_in(each, other)
    assert (await server.stop()).code == 0
