"""The audit trail in the log: one event ``audit`` for each row of the ledger, once it is lasting.

Every decision of the TTP is a row, so every decision is an event, whichever process took it (the
daemon, a replica, an admin verb), and none can be forgotten where it is taken. It carries the row's
sequence and MAC: a log that is kept on another host shows what was cut off or altered here
(``asynctls ttp verify --head``). See docs/decisions/audit.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from asynctls.logger import get_logger
from asynctls.ttp import clock

if TYPE_CHECKING:
    from asynctls.ttp.chain import Head, Value

__all__ = ["event_of", "tell"]

log = get_logger()

_COLUMNS = {
    "name": "name",
    "serial": "serial",
    "token_id": "token",
    "renews": "renews",
    "issuer": "issuer",
}
# Named one by one: a body may also hold what is nobody's to read, such as a key under another key.
_BODY = {
    "sans",
    "profile",
    "lifetime_s",
    "allow_names",
    "key_types",
    "uses",
    "approve",
    "key_type",
    "request",
    "address",
    "rule",
    "reason",
    "left_out",
    "counts",
    "since",
}


def tell(row: dict[str, Value], head: Head) -> None:
    """Logs a row that was just committed, with the head that it made."""
    log.info("audit", **event_of(row, head))


def event_of(row: dict[str, Value], head: Head) -> dict[str, object]:
    """What the log says of a row: the decision, when, about whom, and where it stands.

    Args:
        row: as :func:`asynctls.ttp.schema.row_of` made it.
        head: the chain's end at that row.
    """
    body = msgspec.json.decode(str(row["body"]), type=dict[str, object])
    event: dict[str, object] = {
        "decision": row["kind"],
        "sequence": head.sequence,
        "head": str(head),
        "at": _time(row["at"]),
        "ends_at": _time(row["ends_at"]),
    }
    event |= {said: row[column] for column, said in _COLUMNS.items()}
    event |= {field: fact for field, fact in body.items() if field in _BODY}
    return {field: fact for field, fact in event.items() if fact not in (None, "", [])}


@lru_cache(maxsize=16)
def _time(seconds: Value) -> str | None:
    # Rows that are written together have their times in common.
    return clock.moment(seconds).isoformat() if isinstance(seconds, int) else None
