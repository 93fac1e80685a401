"""Clocks that tests set, so that they need not wait for a certificate to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from asynctls.ttp import clock

AMinuteAgo = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def a_minute_ago(monkeypatch: pytest.MonkeyPatch) -> AMinuteAgo:
    """``with a_minute_ago():`` has the TTP, and whoever joins it, live a minute ago."""

    def then() -> datetime:
        return datetime.now(UTC) - timedelta(minutes=1)

    @contextmanager
    def turned_back() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(clock, "now", lambda: then().replace(microsecond=0))
            patch.setattr("asynctls.enrolment.joining.utc_now", then)
            yield

    return turned_back
