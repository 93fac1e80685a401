"""Where a request for a certificate comes in and its answer goes out: the limits on both ways.

What is let in is counted against guessing, and what is sent away has a row of its own only so
often: a row is kept for good, and anybody can be refused as often as the network allows. All others
come into the ledger as numbers, in one row an hour: each refusal is accounted for in the chain.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from asynctls.errors import EnrolmentRefusedError, LedgerError
from asynctls.logger import get_logger
from asynctls.ttp import clock, issuance, refusals
from asynctls.ttp.issuance import Refused
from asynctls.ttp.policy import Rule
from asynctls.ttp.tokens import FailureLimit, RecordLimit

if TYPE_CHECKING:
    from cryptography import x509

    from asynctls.ttp.chain import Head
    from asynctls.ttp.issuance import Asked, Granted, Waiting
    from asynctls.ttp.ledger import Ledger
    from asynctls.ttp.transactions import Transaction

__all__ = ["Desk"]

log = get_logger()

_ACCOUNT_S = 3600.0


class Desk:
    """The two limits of one authority, and the ledger that refusals go to."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._failures = FailureLimit()
        self._recorded = RecordLimit()
        self._counts: Counter[str] = Counter()
        self._since = clock.now()
        # Of those counts, by the row that would have them: tries that failed, or whose row was
        # kept and only the word of it was lost.
        self._tried: list[tuple[Head, Counter[str]]] = []

    def let_in(self, address: str) -> None:
        """Has an address wait from which too many wrong tokens came.

        Raises:
            EnrolmentRefusedError: it must wait; with the seconds.
        """
        wait_s = math.ceil(self._failures.retry_after_s(address))
        if wait_s > 0:
            log.warning("enrolment refused", rule=Rule.RATE_LIMITED.text, address=address)
            self.count(Rule.RATE_LIMITED.text)
            raise EnrolmentRefusedError(
                f"too many wrong tokens came from {address}; wait {wait_s} s",
                status=Rule.RATE_LIMITED.status,
                rule=Rule.RATE_LIMITED.text,
                retry_after_s=wait_s,
            )

    async def answer(self, outcome: Granted | Refused | Waiting, asked: Asked) -> x509.Certificate:
        """Records a refusal as far as there is room for it, and answers.

        Raises:
            EnrolmentPendingError: a person must approve it first.
            EnrolmentRefusedError: it is a refusal.
            LedgerError: the refusal could not be recorded.
        """
        if isinstance(outcome, Refused):
            left_out: int | None = 0
            credential = outcome.token_id or outcome.serial
            if credential is None:
                # Looked at again and counted without an await in between: of guesses that came at
                # once, all were let in before the first of them had failed.
                self.let_in(asked.address)
                self._failures.failed(asked.address)
            else:
                left_out = self._recorded.take(credential)
            if left_out is None:
                self.count(outcome.refusal.rule.text)
            else:
                refused, before = outcome, left_out
                await self._ledger.write(
                    lambda tx: refusals.record(tx, asked, refused, left_out=before)
                )
        return issuance.answer(outcome, asked.address)

    def count(self, rule: str) -> None:
        """Somebody was sent away by ``rule``, one of the program's own few, and has no row."""
        self._counts[rule] += 1

    async def account(self) -> None:
        """Records how many were sent away without a row since this was last done, if any were.

        Raises:
            LedgerError: it could not be recorded; they are counted still.
        """
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        since, now = self._since, clock.now()
        before = self._tried
        tried: list[tuple[Head, Counter[str]]] = []

        def record(tx: Transaction) -> None:
            left = counts.copy()
            for row, recorded in before:
                if tx.has_link(row):
                    left -= recorded
            if left:
                row = refusals.record_counted(tx, left, since=since, at=now)
                tried.append((row, left))

        try:
            await self._ledger.write(record)
        except LedgerError:
            self._counts += counts
            self._tried = before + tried
            raise
        self._since, self._tried = now, []

    async def maintain(self) -> None:
        """Accounts for them each hour, without end."""
        while True:
            await asyncio.sleep(_ACCOUNT_S)
            with suppress(LedgerError):
                # The authority's upkeep meets it as well, and says so.
                await self.account()
