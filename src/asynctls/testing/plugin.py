"""The pytest plugin: fixtures that are there wherever asynctls is installed.

The fixtures are plain functions, and what they give has async context managers, so that any plugin
for asynchronous tests will do (pytest-asyncio, anyio), or `asyncio.run` in the test.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from asynctls.enrolment import Identity
    from asynctls.server import App, StreamHandler
    from asynctls.testing import CA, Pair, StreamPair

__all__ = ["asynctls_ca", "asynctls_identity", "asynctls_pair", "asynctls_stream_pair"]


@pytest.fixture
def asynctls_ca(tmp_path_factory: pytest.TempPathFactory) -> CA:
    """A CA of the test's own: ``.identity("name")`` issues, ``.revoke(identity)`` takes back."""
    from asynctls.testing import CA  # noqa: PLC0415 - not in runs that use none of this

    return CA(tmp_path_factory.mktemp("asynctls"))


@pytest.fixture
def asynctls_identity(asynctls_ca: CA) -> Callable[..., Identity]:
    """Identities of the test's CA: ``asynctls_identity("name", "another.name", …)``."""
    return asynctls_ca.identity


@pytest.fixture
def asynctls_pair(asynctls_ca: CA) -> Callable[[App], AbstractAsyncContextManager[Pair]]:
    """An app, served, and a session with it.

    As in ``async with asynctls_pair(app) as pair``, where the app is a coroutine function.
    """
    from asynctls.testing import pair  # noqa: PLC0415

    return partial(pair, asynctls_ca)


@pytest.fixture
def asynctls_stream_pair(
    asynctls_ca: CA,
) -> Callable[[StreamHandler], AbstractAsyncContextManager[StreamPair]]:
    """A handler, served, and a plain mutual-TLS stream to it.

    As in ``async with asynctls_stream_pair(handler) as pair``.
    """
    from asynctls.testing import stream_pair  # noqa: PLC0415

    return partial(stream_pair, asynctls_ca)
