"""An attack as a value: what is tried against whom, and what the answer shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynctls.admission import Peer
    from asynctls.config import Address
    from asynctls.enrolment import Identity
    from asynctls.probe.certifier import Certifier

__all__ = ["PATIENCE_S", "Attack", "Finding", "Needs", "Target", "Verdict"]

PATIENCE_S = 2.0
"""No attempt waits longer than this for an answer, in seconds."""


class Verdict(StrEnum):
    """What came of an attack."""

    WITHSTOOD = "withstood"
    NOT_WITHSTOOD = "NOT withstood"
    NOT_TRIED = "not tried"


class Needs(StrEnum):
    """What an attack takes beyond an identity of one's own."""

    NOTHING = "nothing"
    TTP_STATE = "--ttp-state"
    EXHAUST = "--exhaust"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table, and one object of `--json`.

    Attributes:
        attack: its name.
        tried: what was sent, in one sentence.
        answer: what the server did; for what was not tried, what it would take.
        verdict: withstood, NOT withstood, or not tried.
        source: RFC and section, or the attack's name in the literature.
    """

    attack: str
    tried: str
    answer: str
    verdict: Verdict
    source: str


@dataclass(frozen=True, slots=True)
class Target:
    """Whom the attacks are about, and with what.

    Attributes:
        address: the server's.
        identity: ours: the attacks that need a member use it.
        server: whom an honest connection found there.
        sessions: whether it speaks asynctls/1; else it is any other TLS server, a tunnel say.
        server_name: the name that the server must have; None: any.
        ttp: certifies what no policy would, from the state folder that `--ttp-state` names; None:
            it was not given.
    """

    address: Address
    identity: Identity
    server: Peer
    sessions: bool
    server_name: str | None = None
    ttp: Certifier | None = None

    @property
    def ca(self) -> Certifier:
        """`ttp`, for an attack that is run with it alone (`Needs.TTP_STATE`)."""
        if self.ttp is None:
            raise RuntimeError("an attack that needs the CA was run without it")
        return self.ttp


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack of the playbook.

    Attributes:
        name: a few words, unique: tests and reports find it by them.
        group: `downgrade`, `man in the middle`, `replay`, `identity` or `exhaustion`.
        tried: what is sent, in one sentence.
        source: as in `Finding`.
        run: tries it; answers whether the target withstood, and what it did.
        needs: what it takes.
        on_sessions: it attacks the session inside TLS, so it takes a server that has sessions.
    """

    name: str
    group: str
    tried: str
    source: str
    run: Callable[[Target], Awaitable[tuple[Verdict, str]]]
    needs: Needs = Needs.NOTHING
    on_sessions: bool = False
