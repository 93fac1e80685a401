"""Storms in the log."""

from __future__ import annotations

from asynctls.runtime.sparing import Sparing


def test_one_in_an_interval_is_told_and_the_rest_counted() -> None:
    sparing = Sparing(interval_s=3600)
    assert [sparing.left_out("a") for _ in range(3)] == [0, None, None]
    assert sparing.left_out("b") == 0


def test_the_next_interval_tells_how_many_were_left_out() -> None:
    sparing = Sparing(interval_s=3600)
    for _ in range(3):
        sparing.left_out("a")
    sparing._next["a"] = 0.0
    assert sparing.left_out("a") == 2
    assert sparing.left_out("a") is None
