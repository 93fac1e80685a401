"""What every test can ask for: both event loops, other programs, a TTP, identities, the log."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    MutableMapping,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop
from hypothesis import HealthCheck, settings
from structlog.testing import capture_logs

from asynctls.config import Address, TTPConfig
from asynctls.enrolment import Identity, JoinString, join
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.ttp import clock
from asynctls.ttp.authority import Authority
from asynctls.ttp.service import Service
from tests.ports import free_port
from tests.postgresql import Database, PostgreSQL

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Program = Callable[[str], Path]

# By default an example may take a fifth of a second, which any can where much else runs. It is the
# profile of who asks for no other one.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_MISSING = "is not installed ('make peers' installs it)"


def pytest_configure() -> None:
    """A shell's background jobs start with SIGINT ignored, and so would the roles under test."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two for a core: much of what the tests do is to wait, until a certificate ends, say."""
    return 2 * (os.cpu_count() or 1)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, LoopFactory]:
    """Every asynchronous test runs twice: what holds on one loop must hold on the other.

    Not one that is marked ``one_loop``: it starts processes, the dearest thing that a test can do,
    or works on a ledger, in threads of its own, to see something that has nothing to do with the
    loop. It has the loop that the commands would choose.
    """
    if item.get_closest_marker("one_loop"):
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def program() -> Program:
    """Finds another program by name, or skips the test where there is none."""

    def find(name: str) -> Path:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} {_MISSING}")
        return Path(found)

    return find


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in one line which programs were missing, whatever number of tests wanted them."""
    reasons = {
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.getreports("skipped")
        if isinstance(report, pytest.TestReport) and isinstance(report.longrepr, tuple)
    }
    missing = sorted(each.removesuffix(f" {_MISSING}") for each in reasons if _MISSING in each)
    if missing:
        names = ", ".join(missing)
        terminalreporter.write_line(f"Programs not found, their comparisons skipped: {names}")


@dataclass(frozen=True)
class TTP:
    authority: Authority
    service: Service
    address: Address

    async def token(
        self,
        name: str,
        *,
        profile: Profile = Profile.PEER,
        sans: tuple[str, ...] = (),
        ttl: timedelta = timedelta(minutes=10),
        lifetime: timedelta = timedelta(hours=24),
    ) -> JoinString:
        token_id, secret = await self.authority.create_token(
            name, sans=sans, profile=profile, ttl=ttl, lifetime=lifetime
        )
        return JoinString(token_id, secret, self.address, name, self.authority.root_sha256)


RunningTTP = Callable[..., AbstractAsyncContextManager[TTP]]


@asynccontextmanager
async def run_ttp(folder: Path, *, port: int = 0, **settings: Any) -> AsyncIterator[TTP]:
    config = TTPConfig(
        state=folder,
        # Of one that is away nobody else gets the port.
        listen=Address("127.0.0.1", port or free_port()),
        root_key_type="ecdsa-p256",
        issuing_key_type="ecdsa-p256",
        **settings,
    )
    stopping = asyncio.Event()
    async with await Authority.open(config) as authority:
        service = Service(authority, config)
        async with service.serving(stopping) as (listener, connections):
            try:
                yield TTP(authority, service, listener.address)
            finally:
                stopping.set()
                await connections.drain(5)


@pytest.fixture
def running_ttp() -> RunningTTP:
    """``async with running_ttp(folder, port=…, …) as ttp``: its config; a folder is one TTP."""
    return run_ttp


# A CRL is an hour's: what tests see of a TTP that has just started must not be older than this.
_NEW_FOR_S = 20.0


@pytest.fixture(scope="session")
def new_ttp(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Makes a folder what it is after a TTP's first start, which was some seconds ago."""
    made = Path()
    made_at = float("-inf")

    async def start_once(folder: Path) -> None:
        async with run_ttp(folder):
            pass

    def copy(folder: Path) -> None:
        nonlocal made, made_at
        if time.monotonic() - made_at >= _NEW_FOR_S:
            made = tmp_path_factory.mktemp("new") / "ttp"
            # On a loop of its own, so in a thread of its own: a test's may be running, whose log
            # this is no part of.
            with capture_logs(), ThreadPoolExecutor(max_workers=1) as thread:
                thread.submit(_run_on_a_loop, partial(start_once, made)).result()
            made_at = time.monotonic()
        shutil.copytree(made, folder)

    return copy


def _run_on_a_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(work())


@pytest.fixture
async def ttp(tmp_path: Path, new_ttp: Callable[[Path], None]) -> AsyncIterator[TTP]:
    new_ttp(tmp_path / "ttp")
    async with run_ttp(tmp_path / "ttp") as running:
        yield running


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgreSQL) -> Iterator[Database]:
    """An empty database of a real PostgreSQL; a test that stops the server starts it again."""
    with postgres_server.database() as database:
        yield database


AMinuteAgo = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def a_minute_ago(monkeypatch: pytest.MonkeyPatch) -> AMinuteAgo:
    """``with a_minute_ago():`` has the TTP of this process, and who joins it, live a minute ago.

    So nobody waits for what is brief to end, and it has ended however busy the machine is.
    """

    def then() -> datetime:
        return datetime.now(UTC) - timedelta(minutes=1)

    @contextmanager
    def turned_back() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(clock, "now", lambda: then().replace(microsecond=0))
            patch.setattr("asynctls.enrolment.joining.utc_now", then)
            yield

    return turned_back


Joined = Callable[..., Awaitable[Identity]]


@pytest.fixture
def joined(ttp: TTP, tmp_path: Path) -> Joined:
    """``await joined("name", …)``: an identity of the running TTP, in a folder of that name."""

    async def make(name: str, **grant: object) -> Identity:
        return await join(
            tmp_path / name,
            await ttp.token(name, **grant),  # type: ignore[arg-type]
            key_type=KeyType.ECDSA_P256,
            give_up_after=timedelta(seconds=10),
        )

    return make


class LogWatch:
    """The events logged so far, and a way to wait for one."""

    def __init__(self) -> None:
        self.events: list[MutableMapping[str, Any]] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def __call__(
        self, _logger: object, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        # As structlog's own capture_logs calls it.
        event["log_level"] = method
        self.events.append(event)
        self._loop.call_soon_threadsafe(self._changed.set)
        raise structlog.DropEvent

    def named(self, *names: str) -> list[MutableMapping[str, Any]]:
        return [event for event in self.events if event["event"] in names]

    async def until(self, name: str, *, count: int = 1) -> MutableMapping[str, Any]:
        """The latest event of that name; waits until there are ``count`` of them."""
        while len(self.named(name)) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.named(name)[-1]


@pytest.fixture
async def logged() -> AsyncIterator[LogWatch]:
    watch = LogWatch()
    # In place, as capture_logs does: loggers that are bound already hold on to the list.
    processors = structlog.get_config()["processors"]
    structlog.configure(processors=processors)
    before = processors.copy()
    processors[:] = [watch]
    yield watch
    processors[:] = before
