"""Our own server with one of its defences taken away, as the probe's target.

What is taken away is replaced in this process, hence at both ends, where they are to agree on it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.pki.profiles import Profile
from asynctls.probe.attack import Target
from tests.attacks.victims import OTP, server_of, target_of
from tests.attacks.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Victim", "bound_to_nothing", "without"]

Victim = Callable[[World], AbstractAsyncContextManager[Target]]
"""For a CA and while its context lasts, a target whose defence is switched off."""


def without(*replaced: tuple[object, str, Any], **fields: Any) -> Victim:
    """A victim.

    Args:
        replaced: what is something else meanwhile: where, its name, by what.
        fields: likewise, of the server.
    """

    @asynccontextmanager
    async def victim(world: World) -> AsyncIterator[Target]:
        server = server_of(world, world.holder("server", Profile.SERVER))
        with pytest.MonkeyPatch.context() as patch:
            for where, name, by in replaced:
                patch.setattr(where, name, by)
            async with replace(server, greeting=OTP, **fields).serving() as served:
                yield target_of(world, served.address)

    return victim


def bound_to_nothing(**_seen: bytes) -> bytes:
    """The binding (`keys.binding`) taken away."""
    return bytes(32)
