"""A server of several processes: this one keeps the identity and the workers, they serve.

It holds the state folder, joins, renews and fetches CRLs; it never speaks with a client.
"""

from __future__ import annotations

import pickle
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from asynctls.enrolment import crls
from asynctls.enrolment.health import identity_troubles
from asynctls.errors import ConfigError, Fault, WorkerStartError
from asynctls.logger import get_logger
from asynctls.runtime.inherited import inherited_sockets
from asynctls.runtime.reserving import reserve
from asynctls.runtime.supervisor import Supervisor
from asynctls.server.running import identity_anew
from asynctls.server.services import services_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path

    from asynctls.config import Address, ServerConfig
    from asynctls.enrolment.keeper import Keeper
    from asynctls.runtime import Reload, Signals, Take
    from asynctls.runtime.reserving import Reserved
    from asynctls.server.services import Service

__all__ = ["Workers"]

log = get_logger()

# -P: no module of the working folder's takes the place of ours.
_COMMAND = (sys.executable, "-P", "-m", "asynctls", "server")


class Workers:
    """The processes that serve, and what they are told."""

    def __init__(self, config: ServerConfig, services: Sequence[Service]) -> None:
        """Starts none yet.

        Args:
            config: what each serves by.
            services: what that comes to: where each listens.
        """
        self._config = config
        self._services = services
        self._supervisor: Supervisor | None = None

    def alive(self) -> bool:
        """Whether each that serves answers; asked each time that our manager wants to know."""
        return self._supervisor is None or self._supervisor.alive()

    @asynccontextmanager
    async def _checked(self, config: ServerConfig) -> AsyncIterator[Take]:
        """Looks at another config as they would."""
        services = await services_of(config)
        if _places(services) != _places(self._services):
            raise ConfigError(
                Fault(
                    "server.listen",
                    "reload",
                    "addresses have changed, which needs a restart where there are workers",
                )
            )
        yield lambda: None

    async def run(self, keeper: Keeper, signals: Signals, reload: Reload[ServerConfig]) -> int:
        """Keeps them until we are told to stop.

        Args:
            keeper: the identity, whose changes they are told of.
            signals: what ends it.
            reload: has the config in force; all of them take another one, or none does.

        Raises:
            ConfigError: an address cannot be had.
            WorkerError: a worker could not be started.

        Returns:
            0, or the exit code of a worker that ended before it served, and has said why.
        """
        async with AsyncExitStack() as stack:
            reserved = []
            for each in self._services:
                reserved.append(await reserve(each.listen, role="server", setting=each.setting))
                stack.callback(reserved[-1].close)
            self._supervisor = supervisor = Supervisor(
                _COMMAND,
                count=self._config.workers,
                reserved=reserved,
                config=_packed(self._config),
                on_wanted=keeper.refresh_soon,
            )
            await stack.enter_async_context(self._measured(keeper, supervisor))
            inherited_sockets().check_all_taken()

            def tell() -> None:
                supervisor.changed(crls.to_pem(keeper.crls))

            stack.callback(keeper.on_change(tell))
            stack.callback(keeper.on_write(lambda _what: tell()))
            try:
                started = await signals.unless_stopping(_started(stack, supervisor))
            except WorkerStartError as error:
                return error.code
            if started is None:
                return 0
            for one in reserved:
                _announce(one)

            @asynccontextmanager
            async def all_of_them(config: ServerConfig) -> AsyncIterator[Take]:
                await supervisor.reload(_packed(config))
                yield lambda: None

            reload.started(
                partial(identity_anew, keeper),
                self._checked,
                last=all_of_them,
                then=keeper.refresh_crl,
            )
            signals.ready(f"serving by {supervisor.count} workers")
            await signals.stopping.wait()
            await supervisor.drain(reload.config.drain, aborting=signals.aborting)
        log.info("stopped")
        return 0

    @asynccontextmanager
    async def _measured(self, keeper: Keeper, supervisor: Supervisor) -> AsyncIterator[None]:
        if self._config.metrics_listen is None:
            yield
            return
        # Only a daemon with metrics pays for importing what makes them.
        from asynctls.enrolment.metrics import IdentityMetrics  # noqa: PLC0415
        from asynctls.runtime.metrics import new_registry, serve_metrics  # noqa: PLC0415
        from asynctls.runtime.worker_metrics import WithWorkers  # noqa: PLC0415

        registry = new_registry("server")
        registry.register(IdentityMetrics(keeper))
        metrics = WithWorkers(registry, supervisor)

        def troubles() -> list[str]:
            found = identity_troubles(keeper)
            if not supervisor.accepting:
                found.append("no worker serves")
            return found

        async with serve_metrics(
            self._config.metrics_listen,
            metrics,
            role="server",
            troubles=troubles,
            prepare=metrics.look,
        ):
            yield


async def _started(stack: AsyncExitStack, supervisor: Supervisor) -> bool:
    await stack.enter_async_context(supervisor.running())
    return True


def _announce(reserved: Reserved) -> None:
    real, *others = map(str, reserved.addresses)
    also = {"also": others} if others else {}
    log.info("listening", address=real, role="server", **also)


def _places(services: Iterable[Service]) -> list[tuple[str, Address | Path]]:
    return [(each.setting, each.listen) for each in services]


def _packed(config: ServerConfig) -> bytes:
    # Without what only a join is made with: a worker has no use for that secret.
    return pickle.dumps(msgspec.structs.replace(config, join=None, join_file=None))
