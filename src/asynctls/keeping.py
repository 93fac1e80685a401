"""An identity kept for other programs: joined, renewed, its CRLs fresh, and a command that says so.

nginx, PostgreSQL and most others load certificates when they start or are told to reload. So this
daemon renews what they load and then runs the command that tells them.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from asynctls.enrolment.backoff import delays
from asynctls.enrolment.health import identity_troubles
from asynctls.enrolment.joining import ensure_identity
from asynctls.enrolment.keeper import Keeper
from asynctls.logger import get_logger
from asynctls.pki.keys import KeyType
from asynctls.runtime import Reload, Signals
from asynctls.state import hold_state_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from asynctls.config import Endpoint, IdentityConfig
    from asynctls.runtime import Take

__all__ = ["OnRenew", "run"]

log = get_logger()

_LONGEST_RUN_S = 60.0
# As the other daemons drain: whoever stops services waits no minute for one.
_DRAIN_S = 10.0
_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 300.0
_STDERR = 2
_ALL = ("certificate", "ca", "crl")
# Our own variables, secrets among them, are no business of the command's.
_OURS = "ASYNCTLS_"


async def run(folder: Path, config: IdentityConfig, load: Callable[[], IdentityConfig]) -> None:
    """The daemon ``asynctls identity keep``, until it is told to stop.

    Args:
        folder: the identity's.
        config: the settings.
        load: reads them again, for a reload; blocks.

    Raises:
        ConfigError: where metrics are to be served, they cannot be.
        EnrolmentError: there is no identity, and none could be had.
        StateError: the state folder cannot be used, or another daemon holds it.
    """
    command = OnRenew(config.on_renew, folder)
    reload = Reload(config, load)
    async with hold_state_folder(folder), Signals(on_reload=reload.run) as signals:
        identity = await signals.unless_stopping(
            ensure_identity(
                folder,
                join_string=config.join,
                join_file=config.join_file,
                key_type=KeyType(config.key_type),
                give_up_after=None,
            )
        )
        if identity is None:
            return
        identity.check_valid(datetime.now(UTC))
        async with AsyncExitStack() as stack:
            keeper = await signals.unless_stopping(
                stack.enter_async_context(
                    Keeper(identity, crl_interval=config.crl_interval, holds_folder=True)
                )
            )
            if keeper is None:
                return
            await stack.enter_async_context(_measured(config.metrics_listen, keeper, command))
            await stack.enter_async_context(
                command.running(until=signals.aborting, drain_s=_DRAIN_S)
            )
            keeper.on_write(command.note)
            # What changed while nobody kept it, or before a crash, is not known.
            command.note(*_ALL)
            _reload_with(reload, keeper, command)
            log.info(
                "keeping",
                name=keeper.identity.name,
                path=str(folder),
                renews_at=keeper.identity.renews_at.isoformat(timespec="seconds"),
            )
            signals.ready(f"keeping {keeper.identity.name}")
            await signals.stopping.wait()
    log.info("stopped")


@asynccontextmanager
async def _measured(
    endpoint: Endpoint | None, keeper: Keeper, command: OnRenew
) -> AsyncIterator[None]:
    if endpoint is None:
        yield
        return
    # Only who has metrics pays for importing what makes them.
    from asynctls.enrolment.metrics import IdentityMetrics  # noqa: PLC0415
    from asynctls.runtime.metrics import new_registry, serve_metrics  # noqa: PLC0415

    registry = new_registry("identity")
    registry.register(IdentityMetrics(keeper))
    command.count_in(registry)
    async with serve_metrics(
        endpoint, registry, role="identity", troubles=partial(identity_troubles, keeper)
    ):
        yield


def _reload_with(reload: Reload[IdentityConfig], keeper: Keeper, command: OnRenew) -> None:
    def identity(config: IdentityConfig) -> AbstractAsyncContextManager[Take]:
        return keeper.reloading(crl_interval=config.crl_interval)

    def on_renew(config: IdentityConfig) -> AbstractAsyncContextManager[Take]:
        return nullcontext(partial(command.take, config.on_renew))

    async def then() -> None:
        await keeper.refresh_crl()
        command.note(*_ALL)

    reload.started(identity, on_renew, then=then)


class OnRenew:
    """Runs a command after each change, again and again until it has worked."""

    def __init__(self, command: str | None, folder: Path) -> None:
        """Nothing runs yet.

        Args:
            command: for the shell; None: there is none to run. It finds what has changed in
                ``ASYNCTLS_CHANGED`` (certificate, ca, crl, with spaces between), and the identity's
                folder in ``ASYNCTLS_STATE``; of our other variables none.
            folder: the identity's.
        """
        self._command = command
        self._folder = folder
        self._changed: dict[str, None] = {}
        self._noted = asyncio.Event()
        self._at_work = asyncio.Lock()
        self._ended: Callable[[str], None] = lambda _result: None

    def count_in(self, registry: CollectorRegistry) -> None:
        """Has its runs counted from now on, by whether they worked."""
        from prometheus_client import Counter  # noqa: PLC0415 - see `_measured`

        runs = Counter(
            "asynctls_on_renew_runs",
            "Runs of the command of on_renew: done, failed.",
            ["result"],
            registry=registry,
        )
        for result in ("done", "failed"):
            # At 0 from the start: an alert sees a counter grow, but not one that appears.
            runs.labels(result=result)
        self._ended = lambda result: runs.labels(result=result).inc()

    def take(self, command: str | None) -> None:
        """Another command from now on."""
        self._command = command

    def note(self, *changed: str) -> None:
        """These files have changed; the command will run."""
        self._changed |= dict.fromkeys(changed)
        self._noted.set()

    @asynccontextmanager
    async def running(self, *, until: asyncio.Event, drain_s: float) -> AsyncIterator[None]:
        """While the context lasts, runs the command; at its end one that runs may end by itself.

        Args:
            until: when it is set, it may not.
            drain_s: nor after so many seconds. What was cut off runs again at the next start.
        """
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            cut = asyncio.create_task(until.wait())
            free = asyncio.create_task(self._at_work.acquire())
            done, _ = await asyncio.wait(
                (cut, free), timeout=drain_s, return_when=asyncio.FIRST_COMPLETED
            )
            if free not in done:
                log.warning("command cut off", command=self._command)
            for each in (task, cut, free):
                each.cancel()
            await asyncio.gather(task, cut, free, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._noted.wait()
            for delay_s in delays(_FIRST_DELAY_S, _LONGEST_DELAY_S):
                self._noted.clear()
                changed, self._changed = self._changed, {}
                command = self._command
                if command is None:
                    break
                async with self._at_work:
                    failure = await self._tried(command, " ".join(changed))
                self._ended("done" if failure is None else "failed")
                if failure is None:
                    break
                self._changed = changed | self._changed
                log.error(
                    "command failed",
                    command=command,
                    reason=failure,
                    retry_in_s=round(delay_s, 1),
                )
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._noted.wait()

    async def _tried(self, command: str, changed: str) -> str | None:
        try:
            return await self._once(command, changed)
        except Exception as error:
            # The border of this task: a fault in one run must not end all later ones.
            log.exception("command not run", command=command)
            return f"unforeseen: {type(error).__name__}"

    async def _once(self, command: str, changed: str) -> str | None:
        """Runs it to its end, and says in words how it failed, if it did."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        environ |= {"ASYNCTLS_CHANGED": changed, "ASYNCTLS_STATE": str(self._folder)}
        try:
            # The command is the operator's own, from the config. Its words go to our standard
            # error: standard output is for what was asked for. In a group of its own, so that all
            # that it starts can be ended.
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                *("-c", command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=_STDERR,
                env=environ,
                start_new_session=True,
            )
        except OSError as error:
            return f"it cannot be started: {error.strerror or error}"
        try:
            async with asyncio.timeout(_LONGEST_RUN_S):
                code = await process.wait()
        except TimeoutError:
            return f"it did not end within {_LONGEST_RUN_S:g} seconds, and was ended"
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if code:
            return f"it ended with {code}"
        log.info("command done", command=command, changed=changed)
        return None
