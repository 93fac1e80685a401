"""A text with places to be filled in: ``{name}``, ``{time}``, ``{otp}``; ``{{`` is a brace."""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PLACEHOLDERS", "check_template", "fill_in"]

PLACEHOLDERS = ("name", "time", "otp")
_WORDS = "what can be filled in is {name}, {time} and {otp}; a brace of the text itself is doubled"


def check_template(text: str) -> None:
    """Checks that each brace of ``text`` is a placeholder's, or one of two.

    Raises:
        ValueError: with one sentence that says what is wrong with the text.
    """
    try:
        pieces = [(field, spec, conversion) for _, field, spec, conversion in _pieces(text)]
    except ValueError:
        raise ValueError(f"a brace stands alone: {_WORDS}") from None
    for field, spec, conversion in pieces:
        if field is not None and (field not in PLACEHOLDERS or spec or conversion):
            raise ValueError(f"{{{field}}} is not known as it stands there: {_WORDS}")


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """The text with its placeholders filled in.

    Args:
        text: as it was checked.
        values: what each of `PLACEHOLDERS` stands for.
    """
    return "".join(
        literal if field is None else f"{literal}{values[field]}"
        for literal, field, _, _ in _pieces(text)
    )


def _pieces(text: str) -> list[tuple[str, str | None, str | None, str | None]]:
    return list(Formatter().parse(text))
