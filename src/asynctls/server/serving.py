"""What serving takes, whatever is served: a coroutine for each connection, somebody to let in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from asynctls.admission import allow_list
from asynctls.errors import CertificateError, ConfigError, Fault

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence

    from asynctls.admission import AllowList, Rules
    from asynctls.enrolment.standing import Live

__all__ = ["Serves", "allowed"]


class Serves(Protocol):
    """What has a coroutine for each connection: `SessionServer`, `StreamServer`."""

    @property
    def live(self) -> Iterable[Live]:
        """The connections whose peers are judged again when there is news."""

    def rules(self) -> Rules:
        """What peers are held against at this moment."""

    def go_away(self) -> None:
        """Tells every peer that we drain, where its protocol has a word for it."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, /) -> None:
        """Serves one connection to its end."""


def allowed(texts: Sequence[str]) -> AllowList:
    """The allow list of these patterns; coroutines call this by `asyncio.to_thread`.

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
