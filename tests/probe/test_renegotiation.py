"""A second ClientHello under the keys of a real connection, and what is made of the answer."""

from __future__ import annotations

import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import asynctls
from asynctls.errors import TruncatedError
from asynctls.probe.attack import Verdict
from asynctls.probe.meeting import meet
from asynctls.probe.renegotiation import ATTACKS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asynctls.probe.attack import Attack, Target
    from asynctls.testing import CA

by_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


@asynccontextmanager
async def tunnel(ca: CA, *, stays: bool) -> AsyncIterator[Target]:
    """A tunnel's end: with somebody behind it, or with nobody, so that it closes at once."""

    async def app(stream: asynctls.PeerStream) -> None:
        if stays:
            with contextlib.suppress(TruncatedError):
                await stream.read()

    async with asynctls.serving_streams(
        app, "127.0.0.1:0", identity=ca.identity("server"), allow=["client"]
    ) as address:
        yield await meet(address, ca.identity("client"))


@by_attack
async def test_a_server_that_says_no_has_withstood(asynctls_ca: CA, attack: Attack) -> None:
    async with tunnel(asynctls_ca, stays=True) as target:
        verdict, answer = await attack.run(target)
    assert (verdict, answer) == (Verdict.WITHSTOOD, "refused: no renegotiation (alert 100)")


@by_attack
async def test_one_that_closes_whatever_is_said_has_not(asynctls_ca: CA, attack: Attack) -> None:
    async with tunnel(asynctls_ca, stays=False) as target:
        verdict, answer = await attack.run(target)
    assert (verdict, answer) == (
        Verdict.NOT_TRIED,
        "it takes a server that does not close at once anyway",
    )
