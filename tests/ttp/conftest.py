"""A clock that tests set forward."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from asynctls.ttp import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Sets the TTP's clock to so much after the test's start."""
    start = datetime.now(UTC).replace(microsecond=0)

    def set_forward(by: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: start + by)

    return set_forward
