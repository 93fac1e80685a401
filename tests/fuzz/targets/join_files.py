"""What a join file holds (`config.secret_text`): a text that never shows, or a `ConfigError`."""

from __future__ import annotations

from asynctls.config.secret_text import SecretText, read_join
from asynctls.errors import ConfigError
from tests.fuzz.scratch import scratch_folder


def run(data: bytes) -> bool:
    """A file's content."""
    path = scratch_folder("join_files") / "join"
    path.write_bytes(data)
    try:
        text = read_join(None, path)
    except ConfigError as error:
        assert str(error).isprintable()
        return False
    assert text is not None
    assert text.reveal() == data.decode().strip()
    assert text == SecretText(text.reveal())
    assert (str(text), repr(text)) == ("hidden", "SecretText(hidden)")
    return True


def seeds() -> dict[str, bytes]:
    """A line, and what is none."""
    return {
        "line": b"est://id:secret@127.0.0.1:8440\n",
        "words": "  zwölf Euro \r\n".encode(),
        "no-text": b"\xff\xfe",
        "no-word": b" \n\n",
        "no-such-length": b"a" * 4097,
    }
