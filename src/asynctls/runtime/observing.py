"""What a role tells of its connections to whoever counts them; by itself nobody does.

The roles speak to this and not to the metrics, which are imported only where they are switched on.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from prometheus_client.registry import Collector

    from asynctls.config import Endpoint
    from asynctls.errors import HandshakeError, SessionError
    from asynctls.runtime.places import Limit
    from asynctls.runtime.traffic import Metered

__all__ = ["Observer", "observed"]


class Observer:
    """Is told, and counts nothing: the one of the library, and of daemons without metrics."""

    def connection_not_taken(self, limit: Limit) -> None:
        """A connection was closed at once, since there were too many."""

    def handshake_done(self) -> None:
        """A TLS handshake succeeded, and its peer was admitted."""

    def handshake_failed(self, error: HandshakeError) -> None:
        """No TLS connection came about."""

    def session_started(self, metered: Metered) -> None:
        """A session was opened."""

    def session_ended(self, metered: Metered, failure: SessionError | None) -> None:
        """A session that was opened ended; None: both ends closed it."""

    def session_not_opened(self, metered: Metered, failure: SessionError | None) -> None:
        """A TLS connection came about, and no session on it; None: TLS could carry none."""


@asynccontextmanager
async def observed(
    endpoint: Endpoint | None,
    *,
    role: str,
    collect: Callable[[], Collector],
    troubles: Callable[[], Sequence[str]],
) -> AsyncIterator[Observer]:
    """Who is to be told of a role's connections, while its metrics are served.

    Args:
        endpoint: where they are served; None: nowhere, and nobody counts.
        role: for the log, and the table of the config that a fault names.
        collect: makes the collector of the role's other metrics; called only if they are served.
        troubles: why the role cannot do its work; none: it can.

    Raises:
        ConfigError: for the key ``<role>.metrics_listen`` when it cannot be listened on.
    """
    if endpoint is None:
        yield Observer()
        return
    # See the docstring of the first.
    from asynctls.runtime.metrics import new_registry, serve_metrics  # noqa: PLC0415
    from asynctls.runtime.session_metrics import ConnectionMetrics  # noqa: PLC0415

    registry = new_registry(role)
    registry.register(collect())
    observer = ConnectionMetrics(registry)
    async with serve_metrics(endpoint, registry, role=role, troubles=troubles):
        yield observer
