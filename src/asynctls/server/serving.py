"""What serving takes, whatever is served: somebody to let in, an identity that holds, a socket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from asynctls.admission import allow_list
from asynctls.enrolment.standing import standing_watched
from asynctls.errors import CertificateError, ConfigError, Fault
from asynctls.runtime import Connections, Listener, listen

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterable, Sequence

    from asynctls.admission import AllowList, Rules
    from asynctls.config import Address
    from asynctls.enrolment.keeper import Keeper
    from asynctls.enrolment.standing import Live

__all__ = ["Serves", "Serving", "allowed", "serving"]


class Serves(Protocol):
    """What has a coroutine for each connection: `SessionServer`, `StreamServer`."""

    @property
    def live(self) -> Iterable[Live]:
        """The connections whose peers are judged again when there is news."""

    def rules(self) -> Rules:
        """What peers are held against at this moment."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, /) -> None:
        """Serves one connection to its end."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What is being listened on, and the connections that came of it."""

    listener: Listener
    connections: Connections


@asynccontextmanager
async def serving(server: Serves, keeper: Keeper, address: Address) -> AsyncIterator[Serving]:
    """Serves while the context lasts.

    Args:
        server: what to do with each connection.
        keeper: our identity and the CRLs.
        address: where to listen.

    Raises:
        CertificateError: the identity's key and certificate cannot be used.
        ConfigError: the address cannot be listened on.
    """
    # Now, so that what is wrong with key or certificate is found before anybody connects; and one
    # that ends while it is served is then still shown: the client tells why it refuses it.
    await keeper.server_credentials()
    async with (
        Connections(server.serve) as connections,
        standing_watched(keeper, lambda: server.live, server.rules),
        listen(address, connections.accept, role="server") as listener,
    ):
        yield Serving(listener, connections)


def allowed(texts: Sequence[str]) -> AllowList:
    """The allow list of these patterns.

    Raises:
        ConfigError: it lets in nobody, or a pattern is none.
    """
    if not texts:
        raise ConfigError(
            Fault(
                "server.allow",
                "not set",
                "nobody could connect: say who may, as in --allow client, or --allow any for "
                "everybody whom the TTP issued a certificate",
            )
        )
    try:
        return allow_list(texts)
    except CertificateError as error:
        raise ConfigError(Fault("server.allow", ", ".join(texts), str(error))) from error
