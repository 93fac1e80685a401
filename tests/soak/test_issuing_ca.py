"""An issuing CA's whole life under running roles: its successor comes, and issues, by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.roles.changing_ca import nobody_is_cut_off, started

if TYPE_CHECKING:
    from pathlib import Path

    from tests.roles.processes import Daemons

pytestmark = pytest.mark.timeout(300)

# The successor comes at 80 s, issues from 100 s on, and the first one ends at 120 s.
LIFE = "120s"
RENEWALS_BEFORE = 4


async def test_nobody_is_cut_off_in_an_issuing_cas_whole_life(
    request: pytest.FixtureRequest, asynctls: Daemons, tmp_path: Path
) -> None:
    if not request.config.getoption("--long", default=False):
        pytest.skip("only in 'make soak'; tests/roles/test_issuing_ca.py is its short form")
    roles = await started(asynctls, tmp_path, "--issuing-lifetime", LIFE)
    for count in range(1, RENEWALS_BEFORE + 1):
        await roles.server.event("certificate renewed", count=count)
    await nobody_is_cut_off(asynctls, roles)
