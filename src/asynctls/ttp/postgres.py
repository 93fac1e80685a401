"""The ledger on PostgreSQL, for several TTPs at once: whose turn it is, and what can go wrong.

Each writing transaction begins with one advisory lock (``pg_advisory_xact_lock``), which ends with
it: so the replicas append one after another to one chain, and a replica that dies gives the lock
back when PostgreSQL sees its connection end. Isolation is READ COMMITTED on purpose: there a
statement sees all that was committed before it began, so after the wait for the lock the head is
the last writer's; REPEATABLE READ would still show the one from before the wait. Readers need one
consistent view, and use REPEATABLE READ.

No wait is without a bound, on our side too: a PostgreSQL that is frozen keeps its connections, and
its own time-outs stand still with it.

libpq itself reads the URL: several hosts, ``sslmode``, ``passfile`` and service files work as in
every other PostgreSQL client.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
import sqlalchemy as sa
from psycopg import conninfo

from asynctls.errors import LedgerAwayError, LedgerError
from asynctls.ttp.storage import Store

if TYPE_CHECKING:
    from psycopg.abc import RV, PQGen
    from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
    from sqlalchemy.pool import ConnectionPoolEntry

    from asynctls.config import SecretText

__all__ = ["PostgreSQL"]

_WRITING = "asynctls_writing"
_PATIENCE = "asynctls_patience_s"
_LOCK: Final = int.from_bytes(b"asynctls")

_LOCK_TIMEOUT_S = 30
_IDLE_TIMEOUT_S = 60
"""A transaction whose TTP is there and does nothing ends after this: as long as it takes to make
the CA's RSA keys, which happens in one. A TTP that has vanished without a word (its host, its
network) is found out by PostgreSQL's keepalives, within 25 s."""

# For how long it may say nothing while a statement runs. What is written is a few rows; a listing
# of all certificates is sorted first; a migration may make an index of all rows.
_SILENCE_S = 5.0
_READING_S = 60.0
_MIGRATING_S = 600.0
_LOOK_S = 0.1

# Each wait is bounded, unless the URL says otherwise: for a host that does not answer, and for a
# connection whose other end is gone.
_DEFAULTS: Final = {
    "application_name": "asynctls",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_ON_CONNECT: Final = f"""
SET lock_timeout = '{_LOCK_TIMEOUT_S}s';
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
SET idle_in_transaction_session_timeout = '{_IDLE_TIMEOUT_S}s';
SELECT set_config('synchronous_commit', 'on', false)
 WHERE current_setting('synchronous_commit') = 'off';
"""
_UTF_8: Final = "UTF8"


class PostgreSQL(Store):
    """A ledger in the schema that the URL's user finds first."""

    def __init__(self, url: SecretText) -> None:
        """Makes ready to connect; the first connection is made when it is needed.

        Args:
            url: ``postgresql://USER:PASSWORD@HOST/DATABASE``.

        Raises:
            LedgerError: the URL cannot be read.
        """
        try:
            given = conninfo.conninfo_to_dict(url.reveal())
        except (psycopg.Error, UnicodeError) as error:
            # Its message quotes the URL, and there may be a password in it.
            raise LedgerError(
                "the setting 'ledger' is no URL that PostgreSQL's client understands "
                f"({type(error).__name__}); it is postgresql://USER:PASSWORD@HOST/DATABASE"
            ) from None
        self._parameters = _DEFAULTS | {key: str(value) for key, value in given.items()}
        super().__init__(
            _name(self._parameters),
            self._engine(),
            reading={
                "isolation_level": "REPEATABLE READ",
                "postgresql_readonly": True,
                _PATIENCE: _READING_S,
            },
            writing={"isolation_level": "READ COMMITTED", _WRITING: True},
            migrating={
                "isolation_level": "READ COMMITTED",
                _WRITING: True,
                _PATIENCE: _MIGRATING_S,
            },
            keyless=(
                "put it back; a further TTP on this database gets it from a backup of one that "
                "runs: 'asynctls ttp backup' there, 'asynctls ttp restore' here"
            ),
        )

    def lost(self, error: sa.exc.DBAPIError) -> bool:
        """A connection that broke or could not be made, as while PostgreSQL restarts."""
        code = _code(error)
        return isinstance(error.orig, psycopg.OperationalError) and (
            not code or code.startswith("08") or code in _LOST
        )

    def explain(self, error: sa.exc.DBAPIError) -> LedgerError:
        """By the error's SQLSTATE (PostgreSQL's documentation, appendix A)."""
        said = " ".join(str(error.orig).split())
        code = _code(error)
        if self.lost(error):
            return LedgerAwayError(
                f"the ledger {self.name} cannot be used: it cannot be reached ({said}); check that "
                "PostgreSQL runs, and the URL"
            )
        match code:
            case "53100":
                words = "its disk is full; nothing was recorded. Free some space and try again"
            case "53300":
                words = f"it takes no more connections ({said}); nothing was recorded"
            case "25006":
                words = (
                    "it is read-only, as a standby is; nothing was recorded. Let 'ledger' name the "
                    "primary"
                )
            case "42501":
                words = (
                    f"its user may not do that ({said}); let the user own the database, or grant "
                    "it the schema"
                )
            case "55P03":
                words = (
                    f"another TTP kept it locked for {_LOCK_TIMEOUT_S} s; nothing was recorded. "
                    "Try again, and see pg_locks for who holds the advisory lock"
                )
            case _ if code.startswith("23"):
                words = f"it has such a record already ({said}); nothing was recorded twice"
            case _ if code.startswith("XX"):
                words = f"it is damaged ({said}); restore it from a backup"
            case _:
                words = f"{said}; is it a ledger? If it is, restore it from a backup"
        return LedgerError(f"the ledger {self.name} cannot be used: {words}")

    def _engine(self) -> sa.Engine:
        # Pinged when it is taken out, since PostgreSQL may have restarted while it lay there. As
        # many as there are threads may read; no thread waits for another's connection.
        engine = sa.create_engine(
            "postgresql+psycopg://", pool_size=2, max_overflow=-1, pool_pre_ping=True
        )
        sa.event.listen(engine, "do_connect", self._connect)
        sa.event.listen(engine, "connect", _on_connect)
        sa.event.listen(engine, "begin", _on_begin)
        sa.event.listen(engine, "checkin", _on_checkin)
        return engine

    def _connect(
        self,
        _dialect: Dialect,
        _entry: ConnectionPoolEntry,
        _words: list[object],
        options: dict[str, Any],
    ) -> DBAPIConnection:
        """In place of SQLAlchemy's own reading of the URL, which knows less of them than libpq."""
        connection: Any = _Connection.connect(**{**self._parameters, **options})
        return connection  # type: ignore[no-any-return]


class _Connection(psycopg.Connection[tuple[object, ...]]):
    """One that waits for an answer only so long.

    Attributes:
        patience_s: for how long the server may say nothing.
    """

    patience_s: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = _LOOK_S, timeout: float | None = None) -> RV:
        """Where psycopg waits for whatever was asked (but for a new connection).

        Args:
            gen: what was asked, in steps.
            interval: how long a step waits for the socket, in seconds.
            timeout: of the whole, in seconds; psycopg's own, since 3.3.

        Raises:
            psycopg.OperationalError: for too long there was no answer; the connection is closed,
                as what it was asked may still be done.
        """
        patience_s = _SILENCE_S if self.patience_s is None else self.patience_s
        try:
            bounded = _unless_silent(gen, patience_s)
            if timeout is None:
                return super().wait(bounded, interval)
            return super().wait(bounded, interval, timeout)
        except _SilentError:
            self.close()
            raise


class _SilentError(psycopg.OperationalError):
    pass


def _unless_silent(gen: PQGen[RV], patience_s: float) -> PQGen[RV]:
    """``gen``; psycopg resumes it after each interval as well, when there is nothing to read."""
    try:
        wanted = next(gen)
        heard = time.monotonic()
        while True:
            ready = yield wanted
            if ready:
                heard = time.monotonic()
            elif time.monotonic() > heard + patience_s:
                raise _SilentError(f"no answer for {patience_s:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        result: RV = end.value
        return result


# The administrator shut it down, or it crashed, or is starting; it ended our idle session.
_LOST: Final = frozenset({"57P01", "57P02", "57P03", "25P03"})


def _code(error: sa.exc.DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _name(parameters: dict[str, str]) -> str:
    host = parameters.get("host") or parameters.get("hostaddr") or "localhost"
    port = f":{parameters['port']}" if "port" in parameters else ""
    return f"postgresql://{host}{port}/{parameters.get('dbname', '')}"


def _on_connect(
    connection: psycopg.Connection[tuple[object, ...]], _entry: ConnectionPoolEntry
) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != _UTF_8:
        raise LedgerError(
            f"the database's encoding is {encoding}, but names may be of any script: make one "
            "with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    connection.execute(_ON_CONNECT)
    connection.commit()


def _on_begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    driver: Any = connection.connection.driver_connection
    if _WRITING in options:
        # Free, as it mostly is, it is ours within one answer; else whoever has it may take longer.
        free = connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({_LOCK})").scalar()
        if not free:
            driver.patience_s = _LOCK_TIMEOUT_S + _SILENCE_S
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    driver.patience_s = options.get(_PATIENCE)


def _on_checkin(connection: _Connection | None, _entry: ConnectionPoolEntry) -> None:
    # What is asked first when it is taken out again is whether it is still there.
    if connection is not None:
        connection.patience_s = None
