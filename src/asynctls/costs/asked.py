"""The report that a config asks for: of a run of its own, or of a connection to a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.costs.connection import measure_connection
from asynctls.costs.run import measure
from asynctls.runtime.stopped import stopped_by_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.config import CostsConfig
    from asynctls.costs.report import Report

__all__ = ["asked"]


async def asked(config: CostsConfig, *, tell: Callable[[str], None]) -> Report:
    """Measures; a signal ends it, and the keys that it made are gone.

    Args:
        config: the command's settings.
        tell: is told in a few words what is done next.

    Raises:
        AsynctlsError: it came to nothing, and why.
    """
    with stopped_by_signals():
        if config.connect is None:
            return await measure(tell=tell)
        return await measure_connection(
            config.connect, server_name=config.server_name, state=config.state, tell=tell
        )
