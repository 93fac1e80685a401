"""An app that writes down each message it takes, for tests that count what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KEEPING", "have_app", "kept"]

KEEPING = ("--app", "keeping:keep")

_APP = """
async def keep(session):
    with open("kept", "ab", buffering=0) as kept:
        async for message in session:
            kept.write(message + b"\\n")
"""


def have_app(home: Path) -> None:
    """The app is found by servers whose working folder is ``home``."""
    (home / "keeping.py").write_text(_APP)


def kept(home: Path) -> list[bytes]:
    """All messages that it took, in the order of their coming."""
    return (home / "kept").read_bytes().splitlines()
