"""The TTP as a daemon: a process of its own, with curl and openssl for clients."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from asynctls.config import Address, TTPConfig
from asynctls.enrolment import Identity, JoinString, join
from asynctls.enrolment.est_client import simple_reenroll
from asynctls.errors import EnrolmentRefusedError
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import Profile
from asynctls.pki.requests import build_request
from asynctls.ttp.authority import Authority
from tests.ports import free_port

pytestmark = pytest.mark.one_loop

Program = Callable[[str], Path]

DAEMON = """
import sys
from pathlib import Path
from asynctls import logs
from asynctls.config import Address, TTPConfig
from asynctls.errors import AsynctlsError
from asynctls.runtime import run
from asynctls.ttp import service

logs.configure("json")
config = TTPConfig(
    state=Path(sys.argv[1]),
    listen=Address.parse(sys.argv[2]),
    root_key_type="ecdsa-p256",
    issuing_key_type="ecdsa-p256",
    require_linking=sys.argv[3:] == ["linked"],
)
try:
    run(service.run(config, lambda: config))
except AsynctlsError as error:
    sys.exit(str(error))
"""


class Daemon:
    def __init__(self, process: asyncio.subprocess.Process, config: TTPConfig) -> None:
        self.process = process
        self.config = config
        self.events: list[dict[str, Any]] = []
        self.address = Address("", 0)

    async def until(self, event: str) -> dict[str, Any]:
        """The next event of that name."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            if not line.startswith(b"{"):
                raise AssertionError(line + await self.process.stderr.read())
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == event:
                return self.events[-1]
        raise AssertionError(f"no event {event!r} before the end")

    async def token(
        self,
        name: str,
        *,
        profile: Profile = Profile.PEER,
        lifetime: timedelta = timedelta(hours=1),
    ) -> JoinString:
        async with await Authority.beside(self.config) as authority:
            token_id, secret = await authority.create_token(
                name, profile=profile, ttl=timedelta(minutes=10), lifetime=lifetime
            )
            (self.config.state / "root-for-curl.pem").write_text(to_pem(authority.root))
            return JoinString(token_id, secret, self.address, name, authority.root_sha256)

    async def join(self, folder: Path, name: str, **grant: Any) -> Identity:
        return await join(
            folder,
            await self.token(name, **grant),
            key_type=KeyType.ECDSA_P256,
            give_up_after=timedelta(seconds=20),
        )

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@asynccontextmanager
async def daemon_in(folder: Path, *words: str, port: int = 0) -> AsyncIterator[Daemon]:
    config = TTPConfig(state=folder, listen=Address("127.0.0.1", port or free_port()))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DAEMON, str(folder), str(config.listen), *words),
        stderr=asyncio.subprocess.PIPE,
    )
    daemon = Daemon(process, config)
    try:
        daemon.address = Address.parse((await daemon.until("listening"))["address"])
        yield daemon
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with daemon_in(tmp_path / "ttp") as running:
        yield running


async def output(*command: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await process.communicate()
    return told.decode()


async def test_curl_and_openssl_enrol_by_the_published_command(
    daemon: Daemon, tmp_path: Path, program: Program
) -> None:
    curl, openssl = program("curl"), program("openssl")
    token = await daemon.token("server")
    root = tmp_path / "ttp" / "root-for-curl.pem"
    script = f"""
        set -e -o pipefail
        cd {tmp_path}
        {openssl} req -new -newkey rsa:2048 -nodes -keyout server.key -subj / -outform DER \\
            2>/dev/null | {openssl} base64 > server.csr.b64
        {curl} -sS --cacert {root} -u "$USER_PASSWORD" -H 'Content-Type: application/pkcs10' \\
            -H 'Content-Transfer-Encoding: base64' --data-binary @server.csr.b64 \\
            https://{daemon.address}/.well-known/est/simpleenroll |
            {openssl} base64 -d -A | {openssl} pkcs7 -inform DER -print_certs > server.pem
        {curl} -sS --cacert {root} https://{daemon.address}/.well-known/est/cacerts |
            {openssl} base64 -d -A | {openssl} pkcs7 -inform DER -print_certs > ca.pem
        {curl} -sS --cacert {root} https://{daemon.address}/crl |
            {openssl} crl -inform DER -noout -CAfile ca.pem
        {openssl} verify -x509_strict -CAfile ca.pem server.pem
        {openssl} x509 -in server.pem -noout -ext subjectAltName
    """
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"USER_PASSWORD": f"{token.token_id}:{token.secret.reveal().decode()}"},
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    assert b"server.pem: OK" in told
    assert b"DNS:server" in told


async def test_curl_is_told_why_not(daemon: Daemon, tmp_path: Path, program: Program) -> None:
    curl = program("curl")
    await daemon.token("server")
    told = await output(
        *(curl, "-sS", "-i", "--cacert", tmp_path / "ttp" / "root-for-curl.pem"),
        *("-u", "nobody:wrong", "-H", "Content-Type: application/pkcs10", "--data-binary", "AAAA"),
        f"https://{daemon.address}/.well-known/est/simpleenroll",
    )
    assert told.startswith("HTTP/1.1 401 Unauthorized\r\n")
    assert "token-unknown: " in told
    event = await daemon.until("enrolment refused")
    assert event["rule"] == "token-unknown"
    assert event["address"].startswith("127.0.0.1:")


async def test_only_tls_1_2_is_spoken_and_a_refusal_is_one_event(
    daemon: Daemon, program: Program
) -> None:
    openssl = program("openssl")
    told = await output(
        *("timeout", "20", openssl, "s_client", "-tls1_3"), *("-connect", str(daemon.address))
    )
    assert "alert number 70" in told
    event = await daemon.until("refused")
    assert event["alert"] == 70
    assert event["address"].startswith("127.0.0.1:")


async def test_a_role_renews_over_mutual_tls(daemon: Daemon, tmp_path: Path) -> None:
    identity = await daemon.join(tmp_path / "role", "client", profile=Profile.CLIENT)
    key = generate_now(KeyType.ECDSA_P256)
    renewed = await simple_reenroll(identity, key)
    assert renewed.public_key() == key.public_key()
    async with await Authority.beside(daemon.config) as authority:
        await authority.revoke("client")
    with pytest.raises(EnrolmentRefusedError, match="was revoked") as caught:
        await simple_reenroll(identity, key)
    assert caught.value.rule == "certificate-revoked"


async def test_an_expired_certificate_cannot_renew(daemon: Daemon, tmp_path: Path) -> None:
    identity = await daemon.join(
        tmp_path / "role", "client", profile=Profile.CLIENT, lifetime=timedelta(seconds=3)
    )
    await asyncio.sleep(3.1)
    with pytest.raises(EnrolmentRefusedError, match="join again with a new token") as caught:
        await simple_reenroll(identity, generate_now(KeyType.ECDSA_P256))
    assert caught.value.rule == "certificate expired"
    event = await daemon.until("refused")
    assert event["alert"] == 45
    assert event["peer"].startswith("client")


async def test_a_second_daemon_is_kept_off(daemon: Daemon, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="holds the state folder"):
        async with daemon_in(tmp_path / "ttp"):
            pass


async def test_sigterm_drains_and_an_idle_connection_does_not_hold_it(
    daemon: Daemon, tmp_path: Path
) -> None:
    await daemon.token("server")
    context = ssl.create_default_context(cafile=tmp_path / "ttp" / "root-for-curl.pem")
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", daemon.address.port, ssl=context, server_hostname="127.0.0.1"
    )
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200 OK")
    async with asyncio.timeout(8):
        assert await daemon.stop() == 0
    assert await reader.read() == b""
    writer.close()


async def test_sighup_reloads_and_connections_go_on(daemon: Daemon, tmp_path: Path) -> None:
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.until("reloaded")
    assert (await daemon.join(tmp_path / "role", "server")).name == "server"
    assert await daemon.stop() == 0


async def test_a_ttp_that_is_killed_is_the_same_one_when_it_is_back(tmp_path: Path) -> None:
    async with daemon_in(tmp_path / "ttp") as daemon:
        token = await daemon.token("server")
        joining = asyncio.create_task(
            join(
                tmp_path / "role",
                token,
                key_type=KeyType.ECDSA_P256,
                give_up_after=timedelta(seconds=20),
            )
        )
        await daemon.until("issued")
        daemon.process.kill()
    async with daemon_in(tmp_path / "ttp", port=daemon.address.port) as again:
        identity = await joining
        async with await Authority.beside(again.config) as authority:
            (recorded,) = await authority.list_certificates()
            await authority.verify()
    assert recorded.serial == identity.serial


async def test_a_policy_that_demands_linking_lets_our_own_roles_in(
    tmp_path: Path, program: Program
) -> None:
    async with daemon_in(tmp_path / "ttp", "linked") as daemon:
        identity = await daemon.join(tmp_path / "role", "client", profile=Profile.CLIENT)
        await simple_reenroll(identity, generate_now(KeyType.ECDSA_P256))
        token = await daemon.token("server")
        csr = base64.b64encode(build_request(generate_now(KeyType.ECDSA_P256))).decode()
        told = await output(
            *(program("curl"), "-sS", "-i", "--cacert", tmp_path / "ttp" / "root-for-curl.pem"),
            *("-u", f"{token.token_id}:{token.secret.reveal().decode()}"),
            *("-H", "Content-Type: application/pkcs10", "--data-binary", csr),
            f"https://{daemon.address}/.well-known/est/simpleenroll",
        )
    assert told.startswith("HTTP/1.1 403 ")
    assert "not-linked: " in told
