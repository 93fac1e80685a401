"""Contexts follow the identity, whenever they were first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.enrolment.clock import utc_now
from asynctls.enrolment.own_contexts import OwnContexts
from asynctls.testing import CA

if TYPE_CHECKING:
    from pathlib import Path


async def test_one_first_asked_for_while_the_identity_changes_is_not_of_the_old_one(
    tmp_path: Path,
) -> None:
    ca = CA(tmp_path)
    before, after = ca.identity("before"), ca.identity("after")
    held = before
    contexts = OwnContexts(lambda: held, clock=utc_now)
    take = await contexts.made_of(after)
    assert (await contexts.client(None).get()).certificate == before.certificate
    held = after
    take()
    assert (await contexts.client(None).get()).certificate == after.certificate
