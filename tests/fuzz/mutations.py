"""Bytes changed by chance, as a fuzzer does that knows nothing of what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

__all__ = ["changed"]

_ODD: Final = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0", b"\xff\xff", b"\r\n", b"%00", b"-1")
_MOST_CHANGES: Final = 4


def changed(content: bytes, chance: random.Random) -> bytes:
    """``content`` with one change or a few."""
    made = bytearray(content)
    for _ in range(chance.randint(1, _MOST_CHANGES)):
        _change(made, chance)
    return bytes(made)


def _change(made: bytearray, chance: random.Random) -> None:
    at = chance.randint(0, len(made))
    until = min(len(made), at + chance.choice((1, 2, 4, 16, 64)))
    match chance.randrange(7):
        case 0 if at < len(made):
            made[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(made):
            made[at] = chance.randrange(256)
        case 2 if at < len(made):
            made[at] = (made[at] + chance.choice((-1, 1))) % 256
        case 3:
            del made[at:until]
        case 4:
            made[at:at] = made[at:until]
        case 5:
            made[at:at] = chance.choice(_ODD)
        case _:
            made[at:until] = chance.randbytes(until - at)
