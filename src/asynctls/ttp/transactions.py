"""What an operation of the ledger's writer sees: the ledger as of now, and the way to add to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from asynctls.mac import TAG_BYTES, Secret, expand
from asynctls.ttp import chain
from asynctls.ttp.chain import EMPTY, Head, Value
from asynctls.ttp.schema import entries
from asynctls.ttp.statements import Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Transaction", "has_link", "head_of"]

# Untyped: what somebody altered is to be found out by its MAC, and not by a conversion that fails.
_heads = Prepared(
    sa.text("SELECT sequence, mac FROM entries ORDER BY sequence DESC LIMIT 1").columns(
        sa.column("sequence"), sa.column("mac")
    )
)
_link = sa.text("SELECT mac FROM entries WHERE sequence = :sequence")
_insert = sa.insert(entries)
_append = Prepared(_insert)


class Transaction:
    """What an operation sees: the ledger as of now, and the way to add to it."""

    def __init__(self, connection: sa.Connection, key: Secret, head: Head) -> None:
        self.connection = connection
        self.head = head
        self.appended: list[tuple[dict[str, Value], Head]] = []
        self._key = key

    @property
    def next_sequence(self) -> int:
        """The sequence of the row that the next :meth:`append` makes; a CRL's number."""
        return self.head.sequence + 1

    def derived_key(self, purpose: bytes) -> Secret:
        """A key for something else, from the one that all TTPs of this ledger have (RFC 5869)."""
        return Secret(expand(self._key.reveal(), purpose, TAG_BYTES))

    def append(self, row: dict[str, Value]) -> Head:
        """Links ``row`` (from :func:`asynctls.ttp.schema.row_of`) to the chain and inserts it."""
        sequence, previous = self.next_sequence, self.head.mac
        tag = chain.link(self._key.reveal(), sequence, previous, row)
        _append.run(
            self.connection, {**row, "sequence": sequence, "previous": previous, "mac": tag}
        )
        self.head = Head(sequence, tag)
        self.appended.append((row, self.head))
        return self.head

    def adopt(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """Inserts rows that this ledger's key linked before, as they stand: a backup's.

        They tell of decisions that were made before, so there is no audit event for them.

        Raises:
            LedgerBrokenError: one of them does not follow the row before it.
        """
        for row in rows:
            self.head = chain.follow(self._key.reveal(), self.head, row)
        if rows:
            self.connection.execute(_insert, list(rows))

    def has_link(self, head: Head) -> bool:
        """Whether that row is in the ledger, with that MAC."""
        return has_link(self.connection, head)


def has_link(connection: sa.Connection, head: Head) -> bool:
    """Whether that row is in the ledger, with that MAC."""
    found = connection.execute(_link, {"sequence": head.sequence}).scalar()
    return found is not None and bytes(found) == head.mac


def head_of(connection: sa.Connection) -> Head:
    """The last link of the chain."""
    found = _heads.one(connection)
    return EMPTY if found is None else Head(found.sequence, found.mac)
