"""A session (`session.protocol`) against its model: two ends, and whatever is done to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynctls.session.states import Role
from tests.session.arena import SIZES, Arena
from tests.session.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

_KINDS: Final = tuple(Kind)
_MOST_STEPS: Final = 60


def _size(choice: int) -> int:
    return SIZES[choice % len(SIZES)]


_STEPS: Final[tuple[Callable[[Arena, Role, int], None], ...]] = (
    lambda arena, role, n: arena.deliver(role, n),
    lambda arena, role, n: arena.send(role, _size(n), receipt_wanted=n > 127),
    lambda arena, role, n: arena.begin(role, _size(n), receipt_wanted=n > 127),
    lambda arena, role, _: arena.go_on(role),
    lambda arena, role, _: arena.take(role),
    lambda arena, role, _: arena.close(role),
    lambda arena, role, _: arena.go_away(role),
    lambda arena, role, _: arena.fail(role),
    lambda arena, role, _: arena.end_connection(role),
    lambda arena, role, _: arena.drop(role),
    lambda arena, role, _: arena.swap(role),
    lambda arena, role, n: arena.repeat(role, n),
    lambda arena, role, n: arena.reflect(role, n),
    lambda arena, role, n: arena.change(role, n, n >> 5),
    lambda arena, role, n: arena.bring_from_another_session(role, _KINDS[n % len(_KINDS)]),
    lambda arena, role, n: arena.put_in(role, _KINDS[n % 8], _size(n >> 3), n >> 3),
)


def run(data: bytes) -> bool:
    """Steps of two bytes: who does what, and a number for it."""
    arena = Arena()
    for at in range(0, min(len(data), 2 * _MOST_STEPS) - 1, 2):
        role = Role.CLIENT if data[at] & 0x80 else Role.SERVER
        _STEPS[data[at] % len(_STEPS)](arena, role, data[at + 1])
    arena.check()
    return all(arena.is_over(role) for role in Role)


def seeds() -> dict[str, bytes]:
    """A whole session, and one that each kind of attack has ended."""
    client, server = 0x80, 0x00
    opened = bytes((client, 0, server, 0))
    talk = bytes((client | 1, 0x80, client, 5, server | 4, 0, server, 0, server | 6, 0, server, 9))
    closed = bytes((client | 5, 0, client, 0, server | 5, 0, server, 0))
    made = {"whole": opened + talk + closed}
    for step in range(7, len(_STEPS)):
        # To drop or to swap what is not there does no harm.
        name = f"step-{step}" if step in (9, 10, 13) else f"no-step-{step}"
        made[name] = opened + talk + bytes((client | step, 3, client, 0)) + closed
    return made
