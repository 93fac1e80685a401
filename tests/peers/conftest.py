"""The TTP and a server as processes of their own, for programs that nobody here wrote.

They are started once for all tests, on the standard loop and on uvloop. At their end they must have
foreseen everything: exit 0, and no error in the log.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from asynctls.config import Address, TTPConfig
from asynctls.enrolment import Identity, JoinString, join
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType
from asynctls.pki.profiles import Profile
from asynctls.ttp.authority import Authority

ALPN = "asynctls/1"
TIMEOUT_S = 20.0
"""No wait in these tests is longer."""

_ENDED = "the daemon ended"


@dataclass(frozen=True, slots=True)
class Ran:
    """What another program did; `printed` is both of its outputs."""

    code: int
    out: bytes
    err: bytes

    @property
    def printed(self) -> str:
        return (self.out + self.err).decode("utf-8", "replace")

    def ok(self) -> str:
        """What it printed; the test fails here if the program did."""
        assert self.code == 0, self.printed
        return self.printed


def run(
    *command: str | Path,
    given: bytes = b"",
    folder: Path | None = None,
    environ: dict[str, str] | None = None,
) -> Ran:
    """Runs a program to its end."""
    done = subprocess.run(
        command,
        input=given,
        capture_output=True,
        timeout=TIMEOUT_S,
        cwd=folder,
        env=environ,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Daemon:
    """A running `asynctls` daemon and its log."""

    def __init__(self, loop: str, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "asynctls", *words, "--log-format", "json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {"ASYNCTLS_LOOP": loop},
        )
        self._events: list[dict[str, Any]] = []
        self._more = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            readable = line.startswith(b"{")
            self._note(json.loads(line) if readable else {"event": line.decode()})
        self._note({"event": _ENDED, "level": "info"})

    def _note(self, event: dict[str, Any]) -> None:
        with self._more:
            self._events.append(event)
            self._more.notify_all()

    def now(self) -> int:
        """A place in the log, from which `until` then looks on."""
        with self._more:
            return len(self._events)

    def until(self, name: str, *, since: int = 0) -> dict[str, Any]:
        """The first event of that name from a place in the log on; waits for it."""

        def found() -> dict[str, Any] | None:
            wanted = {name, _ENDED}
            return next((each for each in self._events[since:] if each["event"] in wanted), None)

        with self._more:
            event = self._more.wait_for(found, TIMEOUT_S)
            assert event is not None, f"no {name!r} in {self._events[since:]}"
            assert event["event"] == name, self._events[since:]
            return event

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Ends it as an operator does, and holds it to what its log has to be."""
        self._process.terminate()
        try:
            code = self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reading.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        unforeseen = [
            each
            for each in self._events
            if each.get("level") not in {"debug", "info", "warning"} or "exception" in each
        ]
        assert unforeseen == []
        assert code == 0


@dataclass(frozen=True)
class House:
    """A TTP and a server of it, which lets in `client` and whoever is called `*.fleet.example`."""

    folder: Path
    ttp: Daemon
    server: Daemon
    ttp_address: Address
    server_address: Address

    @property
    def config(self) -> TTPConfig:
        return TTPConfig(state=self.folder / "ttp", listen=self.ttp_address)

    @property
    def root(self) -> Path:
        """The root's certificate, PEM."""
        return self.folder / "root.pem"

    @property
    def issuing(self) -> Path:
        """The issuing CA's certificate, PEM."""
        return self.folder / "issuing.pem"

    def url(self, path: str) -> str:
        return f"https://{self.ttp_address}{path}"

    def token(
        self,
        name: str,
        *,
        profile: Profile = Profile.PEER,
        lifetime: timedelta = timedelta(hours=1),
        **grant: Any,
    ) -> JoinString:
        async def create() -> JoinString:
            async with await Authority.beside(self.config) as authority:
                token_id, secret = await authority.create_token(
                    name, profile=profile, ttl=timedelta(minutes=10), lifetime=lifetime, **grant
                )
                return JoinString(token_id, secret, self.ttp_address, name, authority.root_sha256)

        return asyncio.run(create())

    def join(
        self, folder: Path, name: str, *, key_type: KeyType = KeyType.ECDSA_P256, **grant: Any
    ) -> Identity:
        token = self.token(name, **grant)
        return asyncio.run(
            join(folder, token, key_type=key_type, give_up_after=timedelta(seconds=TIMEOUT_S))
        )

    def approve(self, number: int) -> None:
        """Approves a request that waits, beside the daemon."""

        async def say_yes() -> None:
            async with await Authority.beside(self.config) as authority:
                await authority.approve(number)

        asyncio.run(say_yes())

    def revoke(self, name: str) -> None:
        """Revokes beside the daemon; returns once the daemon has the new CRL."""

        async def revoke() -> None:
            async with await Authority.beside(self.config) as authority:
                await authority.revoke(name)

        since = self.ttp.now()
        asyncio.run(revoke())
        self.ttp.until("CRL current", since=since)


def password_of(token: JoinString) -> str:
    """User and password of HTTP Basic, as curl and strongSwan take them."""
    return f"{token.token_id}:{token.secret.reveal().decode()}"


@pytest.fixture(scope="session", params=["asyncio", "uvloop"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    loop: str = request.param
    folder = tmp_path_factory.mktemp(f"house-{loop}")
    with contextlib.ExitStack() as stack:

        def start(*words: str) -> tuple[Daemon, Address]:
            daemon = Daemon(loop, *words, "--listen", "127.0.0.1:0")
            stack.callback(daemon.stop)
            return daemon, Address.parse(daemon.until("listening")["address"])

        key_types = ("--root-key-type", "ecdsa-p256", "--issuing-key-type", "ecdsa-p256")
        ttp, ttp_address = start("ttp", "--state", str(folder / "ttp"), *key_types)
        config = TTPConfig(state=folder / "ttp", listen=ttp_address)

        async def grant_server() -> str:
            async with await Authority.beside(config) as authority:
                issuing, root = authority.ca_certificates
                (folder / "root.pem").write_text(to_pem(root))
                (folder / "issuing.pem").write_text(to_pem(issuing))
                day = timedelta(days=1)
                token_id, secret = await authority.create_token(
                    "server", profile=Profile.SERVER, ttl=day, lifetime=day
                )
                fingerprint = authority.root_sha256
                return JoinString(token_id, secret, ttp_address, "server", fingerprint).format()

        join_file = folder / "server.join"
        join_file.touch(0o600)
        join_file.write_text(asyncio.run(grant_server()))
        server, server_address = start(
            *("server", "--state", str(folder / "server"), "--join-file", str(join_file)),
            *("--key-type", "ecdsa-p256", "--crl-interval", "1h"),
            *("--allow", "client", "--allow", "*.fleet.example"),
        )
        yield House(folder, ttp, server, ttp_address, server_address)


@pytest.fixture(scope="session")
def client(house: House) -> Identity:
    """The client that the server lets in."""
    return house.join(house.folder / "client", "client", profile=Profile.CLIENT)


Program = Callable[[str], Path]


@dataclass(frozen=True)
class OpenSSL:
    """The `openssl` program, for what more than one module wants of it."""

    program: Path

    def __call__(self, *words: str | Path, given: bytes = b"") -> Ran:
        return run(self.program, *words, given=given)

    def request(self, key: Path, *options: str, algorithm: str = "P-256") -> bytes:
        """A new key, and a request for it (DER)."""
        kind = {
            "RSA-2048": ("rsa:2048",),
            "RSA-1024": ("rsa:1024",),
            "Ed25519": ("ed25519",),
        }.get(algorithm, ("ec", "-pkeyopt", f"ec_paramgen_curve:{algorithm}"))
        made = self(
            *("req", "-new", "-newkey", *kind, "-nodes", "-keyout", key),
            *("-config", "/dev/null", "-subj", "/", "-outform", "DER", *options),
        )
        assert made.code == 0, made.printed
        return made.out

    def certificates(self, body: bytes) -> list[str]:
        """The PEM certificates of an EST body, taken apart as commands.md does."""
        der = self("base64", "-d", "-A", given=body)
        assert der.code == 0, der.printed
        pem = self("pkcs7", "-inform", "DER", "-print_certs", given=der.out).ok()
        return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", pem, re.S)

    def text(self, certificate: Path) -> str:
        return self("x509", "-in", certificate, "-noout", "-text").ok()

    def s_client(self, address: Address, *options: str | Path, typed: bytes = b"") -> Ran:
        return self("s_client", "-connect", str(address), *options, given=typed)


@pytest.fixture
def openssl(program: Program) -> OpenSSL:
    return OpenSSL(program("openssl"))


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as curl has it."""

    status: int
    head: str
    body: bytes

    @property
    def words(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Curl:
    """The `curl` program, trusting the root of one TTP and nothing else."""

    program: Path
    house: House

    def __call__(self, path: str, *options: str | Path, given: bytes = b"") -> Answer:
        done = self.run(path, "-i", *options, given=given)
        assert done.code == 0, done.printed
        rest = done.out
        while True:
            head, _, rest = rest.partition(b"\r\n\r\n")
            status = int(head.split()[1])
            if status != 100:
                return Answer(status, head.decode(), rest)

    def run(self, path: str, *options: str | Path, given: bytes = b"") -> Ran:
        command = ("-sS", "--cacert", self.house.root, *options, self.house.url(path))
        return run(self.program, *command, given=given)

    def post(self, path: str, request: bytes, *options: str | Path) -> Answer:
        """Posts a request (DER) as commands.md does."""
        return self(
            path,
            *("-H", "Content-Type: application/pkcs10"),
            *("-H", "Content-Transfer-Encoding: base64"),
            *("--data-binary", "@-", *options),
            given=base64.b64encode(request),
        )

    def enrol(self, token: JoinString, request: bytes) -> Answer:
        return self.post("/.well-known/est/simpleenroll", request, "-u", password_of(token))


@pytest.fixture
def curl(program: Program, house: House) -> Curl:
    return Curl(program("curl"), house)


def wait_past(moment: float) -> None:
    """Returns once the clock has passed a moment, in seconds of the epoch."""
    while (left := moment - time.time()) > 0:
        time.sleep(left)
