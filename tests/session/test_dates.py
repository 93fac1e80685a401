"""The end of a certificate under a live connection, by a clock of the test's."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynctls.admission import LiveAfterExpiry, Peer
from asynctls.session.dates import LONGEST_NOTICE, Expiry, notice

DAY = timedelta(days=1)


class Watched:
    """An expiry, its clock, and what it called."""

    def __init__(self, certificates: tuple[bytes, bytes], what: LiveAfterExpiry) -> None:
        own, peer = (Peer.of(each) for each in certificates)
        self.what = what
        self.end = min(own.not_after, peer.not_after)
        self.now = self.end - DAY
        self.called: list[str] = []
        self.expiry = Expiry(
            own,
            peer,
            live_after_expiry=lambda: self.what,
            on_near=lambda: self.called.append("near"),
            on_end=self.called.append,
            now=lambda: self.now,
        )
        self.expiry.start()

    def look_at(self, moment: datetime) -> list[str]:
        """What was called up to that moment; the alarm is rung by hand, and no time passes."""
        self.now = moment
        self.expiry.stop()
        self.expiry._look()
        return [each.partition(" ")[0] for each in self.called]


async def test_it_tells_once_that_the_end_is_near_and_once_that_it_has_come(
    certificates: tuple[bytes, bytes],
) -> None:
    watched = Watched(certificates, LiveAfterExpiry.END)
    assert watched.look_at(watched.end - LONGEST_NOTICE - timedelta(seconds=1)) == []
    for _ in range(2):
        assert watched.look_at(watched.end - LONGEST_NOTICE / 2) == ["near"]
    assert watched.look_at(watched.end) == ["near", "the"]


async def test_what_is_kept_is_told_neither(certificates: tuple[bytes, bytes]) -> None:
    watched = Watched(certificates, LiveAfterExpiry.KEEP)
    assert watched.look_at(watched.end - timedelta(seconds=1)) == []
    assert watched.look_at(watched.end + DAY) == []


async def test_a_reload_counts_for_what_is_live(certificates: tuple[bytes, bytes]) -> None:
    watched = Watched(certificates, LiveAfterExpiry.KEEP)
    assert watched.look_at(watched.end - timedelta(seconds=1)) == []
    watched.what = LiveAfterExpiry.END
    assert watched.look_at(watched.end - timedelta(seconds=1)) == ["near"]
    watched.what = LiveAfterExpiry.KEEP
    assert watched.look_at(watched.end) == ["near"]
    watched.what = LiveAfterExpiry.END
    assert watched.look_at(watched.end + DAY) == ["near", "the"]


async def test_a_certificate_that_has_ended_at_the_start_is_told_at_once(
    certificates: tuple[bytes, bytes],
) -> None:
    ended: list[str] = []
    own, peer = (Peer.of(each) for each in certificates)
    end = min(own.not_after, peer.not_after)
    Expiry(
        own,
        peer,
        live_after_expiry=lambda: LiveAfterExpiry.END,
        on_near=pytest.fail,
        on_end=ended.append,
        now=lambda: end,
    ).start()
    assert len(ended) == 1


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10_000)))
def test_the_notice_leaves_time_for_a_renewal_before_and_for_a_finish_after(
    left: timedelta,
) -> None:
    given_notice = notice(left)
    assert given_notice <= min(left / 4, LONGEST_NOTICE)
    assert given_notice >= min(left / 4, LONGEST_NOTICE) * 0.69
