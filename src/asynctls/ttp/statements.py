"""Statements that every request for a certificate needs: compiled once, then run by the driver.

SQLAlchemy says what they are, for either database; its own way of running one takes several times
as long as SQLite takes to answer. Errors are SQLAlchemy's, as of every other statement.
"""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Prepared", "Row"]

Row: TypeAlias = Any
"""A named tuple of what the driver gave."""
_Cursor: TypeAlias = Any


class _Compiled(NamedTuple):
    """For one kind of database.

    Attributes:
        text: in its SQL.
        order: of the parameters, where the driver takes them by place.
        row: makes one of what the driver gives.
    """

    text: str
    order: tuple[str, ...] | None
    row: Callable[[Iterable[object]], Row]


class Prepared:
    """A statement whose values are given when it is run, in a transaction.

    What is read comes as the driver has it: integers, text and bytes, whatever the column's type.
    """

    def __init__(self, statement: sa.ClauseElement) -> None:
        """Is compiled at its first use."""
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: sa.Connection, values: Mapping[str, object]) -> None:
        """Runs what gives no rows.

        Raises:
            DBAPIError: it failed.
        """
        self._cursor(connection, values).close()

    def rows(self, connection: sa.Connection, **values: object) -> list[Row]:
        """What it selects.

        Raises:
            DBAPIError: it failed.
        """
        cursor = self._cursor(connection, values)
        try:
            found = cursor.fetchall()
        except connection.dialect.loaded_dbapi.Error as error:
            raise _told(connection, cursor, error) from error
        finally:
            cursor.close()
        return [*map(self._for(connection).row, found)]

    def one(self, connection: sa.Connection, **values: object) -> Row:
        """The only row that it selects, or None.

        Raises:
            DBAPIError: it failed.
            MultipleResultsFound: there are several.
        """
        found = self.rows(connection, **values)
        if len(found) > 1:
            raise sa.exc.MultipleResultsFound(f"{len(found)} rows, where one or none was expected")
        return found[0] if found else None

    def _cursor(self, connection: sa.Connection, values: Mapping[str, object]) -> _Cursor:
        compiled = self._for(connection)
        order = compiled.order
        cursor = connection.connection.cursor()
        try:
            cursor.execute(
                compiled.text, values if order is None else [values[name] for name in order]
            )
        except connection.dialect.loaded_dbapi.Error as error:
            cursor.close()
            raise _told(connection, cursor, error) from error
        return cursor

    def _for(self, connection: sa.Connection) -> _Compiled:
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            made: Any = self._statement.compile(dialect=dialect)
            columns = getattr(self._statement, "selected_columns", None)
            names = () if columns is None else columns.keys()
            order = None if made.positiontup is None else tuple(made.positiontup)
            row: Any = namedtuple("Row", names)  # type: ignore[misc]
            compiled = _Compiled(made.string, order, row._make)
            self._compiled[dialect.name] = compiled
        return compiled


def _told(connection: sa.Connection, cursor: _Cursor, error: Exception) -> sa.exc.DBAPIError:
    """The driver's error as SQLAlchemy would raise it; a connection that broke is given up."""
    dialect: Any = connection.dialect
    lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor)
    told: Any = sa.exc.DBAPIError.instance(
        None,
        None,
        error,
        dialect.loaded_dbapi.Error,
        connection_invalidated=lost,
        dialect=dialect,
    )
    if lost:
        connection.invalidate(error)
    return told  # type: ignore[no-any-return]
