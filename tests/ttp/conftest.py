"""An authority of its own for each test, and a clock that tests set forward."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from asynctls.config import TTPConfig
from asynctls.ttp import clock
from asynctls.ttp.authority import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import timedelta
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> TTPConfig:
    return TTPConfig(
        state=tmp_path / "ttp", root_key_type="ecdsa-p256", issuing_key_type="ecdsa-p256"
    )


@pytest.fixture
async def authority(config: TTPConfig, new_ttp: Callable[[Path], None]) -> AsyncIterator[Authority]:
    new_ttp(config.state)
    async with await Authority.open(config) as opened:
        yield opened


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Sets the TTP's clock to so much after the test's start."""
    start = datetime.now(UTC).replace(microsecond=0)

    def set_forward(by: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: start + by)

    return set_forward
