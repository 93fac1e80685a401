"""An attack as a value: what is tried against whom, and what the answer shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cryptography import x509

    from asynctls.config import Address
    from asynctls.enrolment import Identity
    from asynctls.pki.profiles import Profile

__all__ = ["PATIENCE_S", "Attack", "Certifying", "Finding", "Needs", "Target", "Verdict"]

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


class Certifying(Protocol):
    """What only the CA can do; there with ``--ttp-state``."""

    async def issue(
        self,
        profile: Profile,
        names: Sequence[str],
        *,
        lifetime: timedelta = timedelta(minutes=2),
        uses: Sequence[x509.ObjectIdentifier] | None = None,
    ) -> Identity:
        """A new key and a certificate for it, in memory alone; each is in the ledger.

        Args:
            profile: which role it is for.
            names: its subject alternative names.
            lifetime: from now to its end, a second or more.
            uses: its extended key usages, where they are not the profile's.
        """

    async def revoke(self, identity: Identity) -> None:
        """Revoke it; the TTP signs a new CRL."""

    def name_of_nobody(self) -> str:
        """A name that the CA can certify, and that nobody has."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom the attacks are about, and with what.

    Attributes:
        address: the server's.
        identity: ours: the attacks that need a member use it.
        server_name: the name that the server must have; None: any.
        ttp: the CA of both, with ``--ttp-state``.
    """

    address: Address
    identity: Identity
    server_name: str | None = None
    ttp: Certifying | None = None


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
    """

    name: str
    group: str
    tried: str
    source: str
    run: Callable[[Target], Awaitable[tuple[Verdict, str]]]
    needs: Needs = Needs.NOTHING
