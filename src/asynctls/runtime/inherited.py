"""Listening sockets that whoever started the process opened for it: sd_listen_fds(3).

They are handed over by name. One takes the place of the address in the setting of its name
(``listen``, ``metrics_listen`` …); those that have no name of their own are for ``listen``. Several
of one name are several addresses of one listener, IPv4 and IPv6 say.

Descriptors that were handed over are the process's, once, and so is what keeps them here until they
are asked for.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from asynctls.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping
    from typing import Self

__all__ = ["InheritedSockets", "inherit", "inherited_sockets"]

FIRST = 3
"""SD_LISTEN_FDS_START."""

_MAIN = "listen"
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
# What systemd calls a socket that was given no FileDescriptorName: as its unit, or one of these.
_NAMELESS = ("", "unknown", "connection", "stored")
_UNIT = ".socket"
_MOST = 256


class InheritedSockets:
    """The descriptors that were handed over and not asked for so far, by name.

    Attributes:
        announced: whoever handed them over says itself that they are listened on.
    """

    def __init__(self, named: Iterable[tuple[str, int]] = (), *, announced: bool = False) -> None:
        self.announced = announced
        self._by_name: dict[str, list[int]] = {}
        for name, descriptor in named:
            self._by_name.setdefault(name, []).append(descriptor)

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str], *, pid: int, first: int = FIRST) -> Self:
        """Those that the environment tells of; what tells of them is removed.

        Args:
            environ: the environment.
            pid: this process's number; descriptors for another one are not touched.
            first: the first descriptor.

        Raises:
            ConfigError: what stands there is no number, or nothing was handed over.
        """
        meant, count, names, _ = (environ.pop(name, "") for name in _VARIABLES)
        if not count or meant != str(pid):
            return cls()
        # Its length first: int() takes no text of thousands of digits.
        if not (count.isascii() and count.isdigit() and len(count) <= 9 and int(count) <= _MOST):
            raise _fault("LISTEN_FDS", f"is no number from 0 to {_MOST}: {count[:20]!r}")
        named = [_name(each) for each in names.split(":")]
        named += [_MAIN] * (int(count) - len(named))
        descriptors = range(first, first + int(count))
        for descriptor in descriptors:
            _keep_from_children(descriptor)
        return cls(zip(named, descriptors, strict=False))

    def take(self, name: str, *families: int) -> list[socket.socket]:
        """The sockets of that name, which are the caller's from now on; none: an empty list.

        Args:
            name: the setting's that they take the place of.
            families: of which kinds they may be (``socket.AF_INET`` …).

        Raises:
            OSError: one is of another kind, or none that connections come by.
        """
        taken: list[socket.socket] = []
        with ExitStack() as stack:
            for descriptor in self._by_name.pop(name, []):
                one = stack.enter_context(socket.socket(fileno=descriptor))
                if one.type != socket.SOCK_STREAM or one.family not in families:
                    raise OSError(
                        errno.EPROTOTYPE,
                        "the socket handed over is of another kind than this address (TCP, UNIX)",
                    )
                taken.append(one)
            stack.pop_all()
        return taken

    def check_all_taken(self) -> None:
        """To be called once everything listens that is to listen.

        Raises:
            ConfigError: one is left: who connects there would wait for ever.
        """
        if self._by_name:
            raise _fault(
                "LISTEN_FDNAMES",
                f"nothing here listens by the name {', '.join(sorted(self._by_name))}: wanted is "
                "that of a setting that is set, as in FileDescriptorName=listen",
            )


_inherited = InheritedSockets()


def inherited_sockets() -> InheritedSockets:
    """This process's."""
    return _inherited


def inherit(sockets: InheritedSockets) -> None:
    """Has these as this process's."""
    global _inherited  # noqa: PLW0603 - see the module's docstring
    _inherited = sockets


def _name(given: str) -> str:
    return _MAIN if given in _NAMELESS or given.endswith(_UNIT) else given


def _keep_from_children(descriptor: int) -> None:
    try:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's own
    except OSError as error:
        problem = f"descriptor {descriptor} was not handed over: {error.strerror}"
        raise _fault("LISTEN_FDS", problem) from error


def _fault(source: str, problem: str) -> ConfigError:
    return ConfigError(Fault(_MAIN, source, problem))
