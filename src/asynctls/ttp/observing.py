"""What the TTP tells of its work to whoever counts it; by itself nobody does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.runtime.observing import Observer

if TYPE_CHECKING:
    from asynctls.pki.ocsp import Answer, Unanswered
    from asynctls.ttp.chain import Value

__all__ = ["TTPObserver"]


class TTPObserver(Observer):
    """Is told, and counts nothing: the one of admin verbs, and of daemons without metrics.

    The ledger's methods are called in its writer thread.
    """

    def appended(self, row: dict[str, Value]) -> None:
        """A row was committed by this process."""

    def committed(self, seconds: float) -> None:
        """A request to write was done, that long after it was made."""

    def not_committed(self) -> None:
        """A request to write failed because of the ledger."""

    def ocsp_answered(self, answer: Answer | Unanswered) -> None:
        """Somebody asked by OCSP, and this is the answer."""

    def refused(self, rule: str) -> None:
        """A request for a certificate was refused; ``rule`` is one of the program's own few."""
