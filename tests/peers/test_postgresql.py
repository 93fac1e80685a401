"""PostgreSQL with an identity that is kept for it: it reloads, and no connection is lost.

Debian's server, since it must speak TLS. It runs as another user where we are root, as it does on
every real machine; the command of ``identity keep`` hands it the files.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from asynctls.enrolment import Identity, join
from asynctls.pki.keys import KeyType
from tests.ports import free_port
from tests.roles.processes import Daemons, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "nobody"
SOON = timedelta(seconds=10)
SETTINGS = """
listen_addresses = '127.0.0.1'
fsync = off
ssl = on
ssl_min_protocol_version = 'TLSv1.2'
ssl_cert_file = '{folder}/cert.pem'
ssl_key_file = '{folder}/key.pem'
ssl_ca_file = '{folder}/ca.pem'
ssl_crl_file = '{folder}/crl.pem'
"""
RULES = """
local all all trust
hostssl all all 127.0.0.1/32 cert
"""
# What `docs/guide/renewal.md` has an operator write.
COMMAND = """set -e
cd "$ASYNCTLS_STATE"
install -o {user} -m 644 cert.pem ca.pem crl.pem {folder}
install -o {user} -m 600 key.pem {folder}
test ! -f {data}/postmaster.pid || kill -HUP $(head -n 1 {data}/postmaster.pid)
"""


@dataclass(frozen=True)
class Server:
    folder: Path
    data: Path
    port: int

    def command(self) -> str:
        user = USER if os.geteuid() == 0 else str(os.geteuid())
        return COMMAND.format(user=user, folder=self.folder, data=self.data)

    def url(self, identity: Identity) -> str:
        return (
            f"host=localhost hostaddr=127.0.0.1 port={self.port} user=app dbname=postgres "
            f"sslmode=verify-full sslrootcert={identity.trust_file} "
            f"sslcert={identity.certificate_file} sslkey={identity.key_file}"
        )


def as_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextmanager
def postgresql(programs: Path, server: Server) -> Iterator[None]:
    words = ("--auth", "trust", "--username", "postgres", "--no-sync", "--pgdata", server.data)
    subprocess.run(
        [programs / "initdb", *words], check=True, capture_output=True, cwd="/", **as_user()
    )
    with (server.data / "postgresql.conf").open("a") as file:
        file.write(SETTINGS.format(folder=server.folder))
    (server.data / "pg_hba.conf").write_text(RULES)
    process = subprocess.Popen(
        [programs / "postgres", "-D", server.data, "-p", str(server.port), "-k", server.folder],
        stderr=subprocess.DEVNULL,
        cwd="/",
        **as_user(),
    )
    try:
        end = time.monotonic() + 20
        local = f"host={server.folder} port={server.port} user=postgres dbname=postgres"
        while (trouble := refusal(local)) is not None:
            assert process.poll() is None
            assert time.monotonic() < end, trouble
            time.sleep(0.1)
        with psycopg.connect(local, autocommit=True) as connection:
            connection.execute("CREATE ROLE app LOGIN")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def refusal(url: str) -> str | None:
    """Why there is no connection; None: there was one."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError as error:
        return str(error)
    return None


async def serial_shown(server: Server, openssl: Path) -> str:
    shown = await run_program(
        *(openssl, "s_client", "-starttls", "postgres", "-connect", f"127.0.0.1:{server.port}")
    )
    printed = await run_program(openssl, "x509", "-noout", "-serial", given=shown.out)
    return printed.out.decode().strip().removeprefix("serial=")


@pytest.fixture
def programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("Debian's postgresql is not installed")
    return found[-1].parent


async def test_postgresql_shows_each_new_certificate_and_keeps_its_connections(
    ttp: Any, programs: Path, program: Any, tmp_path: Path, logged: Any
) -> None:
    db, app = [
        await join(
            tmp_path / name,
            await ttp.token(name, sans=sans, lifetime=lifetime),
            key_type=KeyType.ECDSA_P256,
            give_up_after=SOON,
        )
        for name, sans, lifetime in (
            ("db", ("localhost",), timedelta(seconds=20)),
            ("app", (), timedelta(hours=1)),
        )
    ]
    home = tmp_path / "home"
    home.mkdir()
    with tempfile.TemporaryDirectory(prefix="asynctls-postgres-", dir="/tmp") as folder:
        server = Server(Path(folder), Path(folder, "data"), free_port())
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(USER).pw_uid, -1)
        daemons = Daemons(home)
        words = ("--on-renew", server.command(), "--crl-interval", "1s")
        keeping = await daemons.start("identity", "keep", "--state", db.folder, *words)
        try:
            await keeping.event("command done")
            with postgresql(programs, server):
                with psycopg.connect(server.url(app)) as live:
                    assert live.execute("SELECT current_user").fetchone() == ("app",)
                    first = await serial_shown(server, program("openssl"))
                    assert first == db.serial
                    renewed = await keeping.event("certificate renewed")
                    await keeping.event("command done", count=2)
                    shown = first
                    while shown == first:
                        shown = await serial_shown(server, program("openssl"))
                    assert shown == renewed["serial"]
                    assert live.execute("SELECT 1").fetchone() == (1,)
                    with psycopg.connect(server.url(app)) as other:
                        assert other.execute("SELECT ssl FROM pg_stat_ssl").fetchone() == (True,)

                await ttp.authority.revoke("app")
                revoked = await keeping.event("command done", count=3)
                assert "crl" in str(revoked["changed"])
                # PostgreSQL acts on the signal in its own time.
                while (said := await asyncio.to_thread(refusal, server.url(app))) is None:
                    pass
                assert "revoked" in said
            assert (await keeping.stop()).code == 0
        finally:
            await daemons.end()
