"""Bytes cut up as a network might, by other bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cut"]


def cut(stream: bytes, how: bytes) -> Iterator[bytes]:
    """``stream`` in pieces, each as long as the next of ``how`` says; the rest is the last one."""
    at = 0
    for length in how:
        if at + length >= len(stream):
            break
        if length:
            yield stream[at : at + length]
            at += length
    yield stream[at:]
