"""An end of a tunnel without TLS, ``HOST:PORT`` or ``unix:PATH``, and what a server does."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec.structs import replace

from asynctls.config.address import Address

__all__ = ["AppChoice", "Endpoint"]

_UNIX = "unix:"
_FORWARD = "forward:"
# What struct sockaddr_un holds on the strictest platform, its zero byte apart.
_LONGEST_PATH = 103


class Endpoint(msgspec.Struct, frozen=True):
    """A TCP address or the path of a UNIX socket."""

    where: Address | Path

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Reads ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:PATH``.

        Raises:
            ValueError: with one sentence that says what is wrong with the text.
        """
        if not text.startswith(_UNIX):
            return cls(Address.parse(text))
        path = text.removeprefix(_UNIX)
        if not path or "\0" in path:
            raise ValueError("the path of the UNIX socket is missing (unix:PATH)")
        try:
            return cls(Path(path).expanduser())
        except RuntimeError:
            raise ValueError("there is no such user's home folder") from None

    def relative_to(self, folder: Path | None) -> Endpoint:
        """The same, a relative path being relative to ``folder``.

        Raises:
            ValueError: the path is too long for a UNIX socket.
        """
        if isinstance(self.where, Address):
            return self
        path = (folder or Path()) / self.where
        if len(str(path).encode()) > _LONGEST_PATH:
            raise ValueError(f"the path of a UNIX socket has {_LONGEST_PATH} bytes at the most")
        return replace(self, where=path)

    def __str__(self) -> str:
        return str(self.where) if isinstance(self.where, Address) else f"{_UNIX}{self.where}"


class AppChoice(msgspec.Struct, frozen=True):
    """What a server does: an app by its name, or ``forward`` and where to.

    Attributes:
        name: ``message``, ``echo``, ``forward``, or ``module:callable`` for an app to be imported.
        target: where ``forward`` leads; None for the others.
    """

    name: str
    target: Endpoint | None = None

    @classmethod
    def parse(cls, text: str) -> AppChoice:
        """Reads ``message``, ``echo``, ``forward:HOST:PORT``, ``forward:unix:PATH``, or an import.

        Raises:
            ValueError: with one sentence that says what is wrong with the text.
        """
        if text in ("message", "echo"):
            return cls(text)
        if not text.startswith(_FORWARD):
            if not all(map(_is_dotted, text.split(":"))) or text.count(":") != 1:
                raise ValueError(
                    "wanted is one of message, echo, forward:HOST:PORT, forward:unix:PATH, "
                    "module:callable"
                )
            return cls(text)
        target = Endpoint.parse(text.removeprefix(_FORWARD))
        if isinstance(target.where, Address) and target.where.port == 0:
            raise ValueError("the port is 1 at the least")
        return cls("forward", target)

    @property
    def imported(self) -> bool:
        """Whether it is an app of the user's own, which ``name`` says where to import."""
        return ":" in self.name

    def relative_to(self, folder: Path | None) -> AppChoice:
        """The same, a relative path being relative to ``folder``; raises what an endpoint does."""
        return (
            self if self.target is None else replace(self, target=self.target.relative_to(folder))
        )

    def __str__(self) -> str:
        return self.name if self.target is None else f"{_FORWARD}{self.target}"


def _is_dotted(text: str) -> bool:
    return all(each.isidentifier() for each in text.split("."))
