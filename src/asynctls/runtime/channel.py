"""What a supervisor and its workers say to one another, over a pair of connected sockets.

Each message is its length in four bytes and itself. What a worker says is JSON, typed, and small: a
worker speaks with the network, so its word is checked. What the supervisor says has pickled values
in it, a config say, as its own command line and files brought them about.

The end of the channel is the end of whoever was at its other end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import msgspec

from asynctls.errors import WorkerError

if TYPE_CHECKING:
    import socket
    from types import TracebackType
    from typing import Self

__all__ = [
    "Abort",
    "Accepting",
    "Answer",
    "Ask",
    "Begin",
    "Changed",
    "Channel",
    "Family",
    "Order",
    "Reload",
    "Reloaded",
    "Report",
    "Sample",
    "Stop",
    "Wanted",
    "receive_begin",
]

_LENGTH_BYTES = 4
# The longest CRL that is fetched from a TTP, 16 MiB, and as PEM a third more.
_MOST_BYTES = 1 << 25
# Of a text that is no UTF-8, msgspec raises Python's own error; of lists in lists without end too.
_NO_MESSAGE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Message(msgspec.Struct, frozen=True, tag=True):
    """One message, known by the name of its class."""


class Begin(_Message, frozen=True):
    """The first order.

    Attributes:
        worker: which one, from 1.
        sockets: the descriptors that it inherits to listen on, each with its setting's name.
        config: what to do, pickled.
    """

    worker: int
    sockets: list[tuple[str, int]]
    config: bytes


class Changed(_Message, frozen=True):
    """The state folder has another certificate, trust bundle or CRL.

    Attributes:
        crl: the CRLs, PEM, which may be newer than those on a disk that is full.
    """

    crl: str


class Reload(_Message, frozen=True):
    """Take this config, pickled, and what is in the state folder; say how that went."""

    config: bytes


class Ask(_Message, frozen=True):
    """Say that you are there, and what you have counted if ``count``."""

    count: bool


class Stop(_Message, frozen=True):
    """Take no more connections, let those that there are end, and end."""


class Abort(_Message, frozen=True):
    """End at once."""


class Accepting(_Message, frozen=True):
    """The worker takes connections."""


class Reloaded(_Message, frozen=True):
    """How a reload went; ``problem`` is why nothing was taken."""

    problem: str | None


class Wanted(_Message, frozen=True):
    """A peer was refused: the TTP may have news."""


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number of a metric."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """A metric as one worker counted it."""

    name: str
    documentation: str
    kind: str
    samples: list[Sample]


class Answer(_Message, frozen=True):
    """The answer to each `Ask`, in their order."""

    families: list[Family]


Order: TypeAlias = Begin | Changed | Reload | Ask | Stop | Abort
Report: TypeAlias = Accepting | Reloaded | Wanted | Answer

_ORDERS: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_REPORTS: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)

HeardT = TypeVar("HeardT")


class Channel(Generic[HeardT]):
    """One end, on a loop; a context that closes it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        heard: msgspec.json.Decoder[HeardT],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._heard = heard

    @classmethod
    async def to_supervisor(cls, end: socket.socket) -> Channel[Order]:
        """A worker's end."""
        return Channel(*await asyncio.open_connection(sock=end), _ORDERS)

    @classmethod
    async def to_worker(cls, end: socket.socket) -> Channel[Report]:
        """The supervisor's end."""
        return Channel(*await asyncio.open_connection(sock=end), _REPORTS)

    async def __aenter__(self) -> Self:
        """The channel itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Aborted, not closed: what the other end has not read it does not want any more.
        self._writer.transport.abort()
        try:
            await self._writer.wait_closed()
        except OSError:
            return

    def send(self, message: Order | Report) -> None:
        """Sends it as soon as the other end takes it; to one that has ended, it is lost."""
        if self._writer.is_closing():
            # uvloop's transport raises then, asyncio's does not.
            return
        content = msgspec.json.encode(message)
        self._writer.write(len(content).to_bytes(_LENGTH_BYTES, "big") + content)

    async def receive(self) -> HeardT | None:
        """The next message; None: the other end has ended.

        Raises:
            WorkerError: what came is no message.
        """
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
            _check_length(length)
            return self._heard.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except _NO_MESSAGE as error:
            raise WorkerError(f"what came over the channel is no message: {error}") from error


def receive_begin(end: socket.socket) -> Begin:
    """The first order, before there is a loop; blocks.

    Raises:
        WorkerError: another message came, or none.
    """
    content = _read(end, _check_length(int.from_bytes(_read(end, _LENGTH_BYTES), "big")))
    try:
        return msgspec.json.decode(content, type=Begin)
    except _NO_MESSAGE as error:
        raise WorkerError(f"what came over the channel is no first order: {error}") from error


def _check_length(length: int) -> int:
    if length > _MOST_BYTES:
        raise WorkerError(f"a message of {length} bytes came over the channel")
    return length


def _read(end: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        more = end.recv(count - len(content))
        if not more:
            raise WorkerError("the supervisor ended before its first order")
        content += more
    return content
