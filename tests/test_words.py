"""Figures as people read them."""

from __future__ import annotations

import pytest

from asynctls.words import key_words, number_words, share_words, time_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0000021, "2.1 µs"),
        (0.00125, "1.25 ms"),
        (1.5, "1.50 s"),
        (0, "0.0 µs"),
    ],
)
def test_a_time_has_the_unit_that_suits_it(seconds: float, words: str) -> None:
    assert time_words(seconds) == words


def test_numbers_have_their_thousands_apart() -> None:
    assert [number_words(each) for each in (71, 7214, 7214.0, 228.54)] == [
        "71",
        "7,214",
        "7,214",
        "228.5",
    ]


def test_a_share_is_told_in_per_cent() -> None:
    assert share_words(0.9851) == "98.5 %"


def test_keys_have_their_usual_names() -> None:
    assert [key_words(each) for each in ("rsa-2048", "ecdsa-p256")] == ["RSA 2048", "ECDSA P-256"]
