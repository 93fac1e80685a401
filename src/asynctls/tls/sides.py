"""What an engine is told of its connection: which end of it we are, and who decides on the other.

Who decides is not known here: `admission` for sessions and tunnels, and others for the TTP.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asynctls.alerts import Alert

__all__ = ["Admit", "Side", "Verdict"]


class Verdict(Protocol):
    """What `Admit` answers: `alert` is None for a peer that is let in, else why it is not."""

    @property
    def alert(self) -> Alert | None:
        """The fatal alert that the peer is to be told; None: it is let in."""

    @property
    def reason(self) -> str:
        """Why, in plain words, for our log."""


Admit = Callable[[bytes | None, str | None], Verdict]
"""Decides on a peer from its certificate (DER; None: it showed none) and the ALPN agreed on."""


class Side(Enum):
    """Which end of the connection an engine is."""

    CLIENT = "client"
    SERVER = "server"
