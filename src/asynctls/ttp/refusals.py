"""Who was sent away, as rows of the ledger: each by itself, or many as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.ttp.schema import Kind, RefusalBody, RefusalsBody, row_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from asynctls.ttp.chain import Head
    from asynctls.ttp.issuance import Asked, Refused
    from asynctls.ttp.transactions import Transaction

__all__ = ["record", "record_counted"]


def record(transaction: Transaction, asked: Asked, refused: Refused, *, left_out: int = 0) -> None:
    """Records that somebody was sent away.

    Args:
        transaction: the ledger's.
        asked: the request.
        refused: why, and whom.
        left_out: how many refusals of the same credential have no row since its last one.
    """
    body = RefusalBody(
        rule=refused.refusal.rule.text,
        reason=refused.refusal.reason,
        address=asked.address,
        left_out=left_out,
    )
    transaction.append(
        row_of(
            Kind.ENROLMENT_REFUSED,
            body,
            at=int(asked.at.timestamp()),
            name=refused.name,
            token_id=refused.token_id,
            serial=refused.serial,
        )
    )


def record_counted(
    transaction: Transaction, counts: Mapping[str, int], *, since: datetime, at: datetime
) -> Head:
    """Records how many were sent away since then without a row of their own, by rule.

    Returns:
        The row's link in the chain.
    """
    body = RefusalsBody(counts=dict(counts), since=since)
    return transaction.append(row_of(Kind.REFUSALS_COUNTED, body, at=int(at.timestamp())))
