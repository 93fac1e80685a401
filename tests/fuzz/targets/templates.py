"""The server's message (`config.template`): what was not refused can be filled in."""

from __future__ import annotations

from asynctls.config.template import PLACEHOLDERS, check_template, fill_in
from tests.fuzz.texts import text_of


def run(data: bytes) -> bool:
    """A text."""
    text = text_of(data)
    doubled = text.replace("{", "{{").replace("}", "}}")
    check_template(doubled)
    assert fill_in(doubled, {}) == text
    try:
        check_template(text)
    except ValueError as error:
        assert "a brace of the text itself is doubled" in str(error)
        return False
    filled = fill_in(text, dict.fromkeys(PLACEHOLDERS, ""))
    assert len(filled) <= len(text)
    return True


def seeds() -> dict[str, bytes]:
    """With each placeholder, and with what is none."""
    return {
        "all": b"{{{name}}} at {time}: {otp}",
        "words": "zwölf Euro".encode(),
        "no-such-name": b"{nam}",
        "no-spec": b"{name:>10}",
        "no-conversion": b"{name!r}",
        "no-attribute": b"{name.__class__}",
        "no-end": b"{name",
    }
