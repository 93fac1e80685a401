"""The commands as processes, none of which outlives its test, and identities for them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.enrolment import Identity, join
from asynctls.pki.keys import KeyType
from asynctls.testing import CA
from tests.roles.processes import Daemons

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


@pytest.fixture
async def asynctls(tmp_path: Path) -> AsyncIterator[Daemons]:
    home = tmp_path / "home"
    home.mkdir()
    daemons = Daemons(home)
    yield daemons
    await daemons.end()


@pytest.fixture
def issued(ttp: Any, tmp_path: Path) -> Callable[..., Awaitable[Identity]]:
    """``await issued("name", "folder", …)``: an identity of the TTP of this process."""

    async def make(name: str, folder: str = "", **grant: object) -> Identity:
        return await join(
            tmp_path / (folder or name),
            await ttp.token(name, **grant),
            key_type=KeyType.ECDSA_P256,
            give_up_after=timedelta(seconds=10),
        )

    return make


@pytest.fixture
def ca(tmp_path: Path) -> CA:
    """Identities without a TTP, for tests that need none."""
    folder = tmp_path / "ca"
    folder.mkdir()
    return CA(folder)
