"""Pauses grow to a limit, and start anew only after what held."""

from __future__ import annotations

from asynctls.runtime import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=1, longest_s=8)
    for expected in (1, 2, 4, 8, 8):
        assert 0.75 * expected <= backoff.delay_s() <= 1.25 * expected


def test_only_what_held_for_longer_than_the_longest_starts_them_anew() -> None:
    backoff = Backoff(first_s=1, longest_s=8)
    backoff.delay_s()
    assert backoff.delay_s(held_s=7.9) >= 1.5
    assert backoff.delay_s(held_s=8.1) <= 1.25


def test_they_can_be_started_anew() -> None:
    backoff = Backoff(first_s=1, longest_s=8)
    backoff.delay_s()
    backoff.start_anew()
    assert backoff.delay_s() <= 1.25
