"""Texts out of any bytes, and what must hold of those that are read as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["reads_back", "text_of"]

Value = TypeVar("Value")


def text_of(data: bytes) -> str:
    """Any text, lone surrogates included, as the environment may give it."""
    return data.decode(errors="surrogateescape")


def reads_back(
    text: str,
    read: Callable[[str], Value],
    write: Callable[[Value], str],
    refusal: type[Exception],
) -> bool:
    """Whether ``read`` takes it. What is taken has one form to be written in, which means the same.

    What is not is refused by ``refusal``, in words of one line.
    """
    try:
        value = read(text)
    except refusal as error:
        assert str(error).isprintable()
        assert str(error)
        return False
    assert read(write(value)) == value
    assert write(read(write(value))) == write(value)
    return True
