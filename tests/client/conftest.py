"""A server of this process that serves whatever app a test needs, and clients as processes."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from tests.roles.conftest import asynctls, ca, issued

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asynctls.server import App

__all__ = ["asynctls", "ca", "issued"]


@pytest.fixture
def serving(issued: Any, logged: Any) -> Callable[[App], AbstractAsyncContextManager[str]]:
    """``async with serving(app) as address``: by the identity 'server', for 'client'."""

    @asynccontextmanager
    async def serve(app: App) -> AsyncIterator[str]:
        identity = await issued("server")
        logged.events.clear()
        task = asyncio.create_task(
            library.serve(app, "127.0.0.1:0", identity=identity, allow=["client"])
        )
        try:
            yield str((await logged.until("listening"))["address"])
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return serve
