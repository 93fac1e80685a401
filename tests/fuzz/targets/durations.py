"""Lengths of time (`config.durations`): what is read can be written, and means the same."""

from __future__ import annotations

from datetime import timedelta

from asynctls.config.durations import format_duration, parse_duration
from tests.fuzz.texts import reads_back, text_of


def run(data: bytes) -> bool:
    """A text."""
    return reads_back(text_of(data), _read, format_duration, ValueError)


def _read(text: str) -> timedelta:
    duration = parse_duration(text)
    assert duration >= timedelta(0)
    return duration


def seeds() -> dict[str, bytes]:
    """As people write them, and as they should not."""
    return {
        "seconds": b"5s",
        "mixed": b"1d2h3m4s",
        "largest": b"999999999d",
        "nothing": b"0s",
        "no-unit": b"5",
        "no-order": b"5s1m",
        "no-ascii": "٣s".encode(),
        "no-text": b"",
    }
