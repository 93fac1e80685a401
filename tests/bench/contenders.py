"""Who is compared: our own programs and the peers, as processes on the servers' core.

Each gets the same certificates, TLS 1.2 with ECDHE and AES-GCM, a client certificate demanded, and
tickets on. A peer that is not installed is named as absent and left out.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.machine import LOADING, SERVING
from tests.bench.processes import PATIENCE_S, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tests.bench.identities import Identities

__all__ = ["ANSWERING", "FORWARDING", "PAIRS", "Backend", "Contender", "Kind", "backend", "python"]

_CIPHERS = "ECDHE+AESGCM"
_NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that runs: its process, whose descendants count with it, and its port."""

    name: str
    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class Backend:
    """What forwarding leads to: who greets and closes, and who echoes."""

    greeter: int
    echo: int


@dataclass(frozen=True, slots=True)
class Kind:
    """A contender that could run.

    Attributes:
        name: as it stands in the tables.
        command: what starts it, of its port, the identities, the port behind it and a scratch
            folder; several commands are one contender, and its port belongs to the last of them.
        program: what must be installed; None: nothing more than the package.
    """

    name: str
    command: Callable[[int, Identities, int, Path], Sequence[Sequence[str | Path]]]
    program: str | None = None

    @property
    def absent(self) -> bool:
        """Its program is not here."""
        if self.program == "nginx" and not _NGINX_MODULE.exists():
            return True
        return self.program is not None and shutil.which(self.program) is None

    @asynccontextmanager
    async def running(
        self, identities: Identities, behind: int, scratch: Path
    ) -> AsyncIterator[Contender]:
        """It, once it takes connections."""
        port = _free_port()
        folder = scratch / self.name.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        commands = self.command(port, identities, behind, folder)
        async with _together(commands) as pid:
            await _accepting(port)
            yield Contender(self.name, pid, port)


@asynccontextmanager
async def _together(commands: Sequence[Sequence[str | Path]]) -> AsyncIterator[int]:
    """All of them under one shell, whose process stands for them."""
    lines = "".join(f'{shlex.join(map(str, command))} & all="$all $!"\n' for command in commands)
    words = ("sh", "-c", f"{lines} read -r _; kill $all; wait")
    async with running(*words, cores=SERVING, stdout=asyncio.subprocess.DEVNULL) as process:
        yield process.pid


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def _accepting(port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@asynccontextmanager
async def python(
    kind: str, identities: Identities, *, loop: str = "uvloop", name: str | None = None
) -> AsyncIterator[Contender]:
    """A server of `pythons`."""
    words = (sys.executable, "-m", "tests.bench.pythons", loop, kind, identities.server)
    async with running(*words, cores=SERVING) as process:
        yield Contender(name or kind, process.pid, *await _ports(process))


@asynccontextmanager
async def backend() -> AsyncIterator[Backend]:
    """Plain TCP, on the load's core."""
    words = (sys.executable, "-m", "tests.bench.backend")
    async with running(*words, cores=LOADING, stderr=None) as process:
        yield Backend(*await _ports(process))


async def _ports(process: asyncio.subprocess.Process) -> list[int]:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        return [int(each) for each in (await process.stdout.readline()).split()]


# What starts each of them


def _nginx(folder: Path, *servers: str) -> list[list[str | Path]]:
    config = folder / "nginx.conf"
    config.write_text(
        f"load_module {_NGINX_MODULE};\n"
        "daemon off; master_process off; worker_processes 1;\n"
        f"pid {folder}/pid; error_log {folder}/error.log;\n"
        "events { worker_connections 16384; }\n"
        "stream { " + "\n".join(servers) + " }\n"
    )
    return [["nginx", "-c", config, "-e", folder / "error.log", "-p", folder]]


def _nginx_tls(port: int, identities: Identities, then: str) -> str:
    state = identities.server
    return (
        f"server {{ listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.2; ssl_ciphers {_CIPHERS};\n"
        f"ssl_certificate {state}/cert.pem; ssl_certificate_key {state}/key.pem;\n"
        f"ssl_client_certificate {state}/ca.pem; ssl_verify_client on; ssl_verify_depth 3;\n"
        f"ssl_session_tickets on; {then} }}"
    )


def _nginx_answers(
    port: int, identities: Identities, behind: int, folder: Path
) -> list[list[str | Path]]:
    return _nginx(folder, _nginx_tls(port, identities, 'return "!";'))


def _nginx_forwards(
    port: int, identities: Identities, behind: int, folder: Path
) -> list[list[str | Path]]:
    then = f"proxy_pass 127.0.0.1:{behind};"
    return _nginx(folder, _nginx_tls(port, identities, then))


def _nginx_pair(
    port: int, identities: Identities, behind: int, folder: Path
) -> list[list[str | Path]]:
    between, state = _free_port(), identities.client
    first = (
        f"server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{between}; proxy_ssl on;\n"
        f"proxy_ssl_protocols TLSv1.2; proxy_ssl_ciphers {_CIPHERS}; proxy_ssl_name server;\n"
        f"proxy_ssl_certificate {state}/cert.pem; proxy_ssl_certificate_key {state}/key.pem;\n"
        f"proxy_ssl_trusted_certificate {state}/ca.pem; proxy_ssl_verify on;\n"
        "proxy_ssl_verify_depth 3; proxy_ssl_session_reuse on; }"
    )
    second = _nginx_tls(between, identities, f"proxy_pass 127.0.0.1:{behind};")
    return _nginx(folder, first, second)


_HAPROXY = (
    "global\n nbthread 1\n maxconn 9000\n tune.ssl.default-dh-param 2048\n"
    "defaults\n mode tcp\n timeout connect 5s\n timeout client 600s\n timeout server 600s\n"
)


def _haproxy_tls(port: int, identities: Identities, behind: int) -> str:
    return (
        f"frontend tls\n bind 127.0.0.1:{port} ssl crt {identities.combined} "
        f"ca-file {identities.server}/ca.pem verify required ssl-min-ver TLSv1.2 "
        f"ssl-max-ver TLSv1.2 ciphers {_CIPHERS}\n default_backend behind\n"
        f"backend behind\n server one 127.0.0.1:{behind}\n"
    )


def _haproxy(folder: Path, *parts: str) -> list[list[str | Path]]:
    config = folder / "haproxy.cfg"
    config.write_text(_HAPROXY + "".join(parts))
    return [["haproxy", "-db", "-f", config]]


def _haproxy_forwards(
    port: int, identities: Identities, behind: int, folder: Path
) -> list[list[str | Path]]:
    return _haproxy(folder, _haproxy_tls(port, identities, behind))


def _haproxy_pair(
    port: int, identities: Identities, behind: int, folder: Path
) -> list[list[str | Path]]:
    between, state = _free_port(), identities.client
    combined = state / "combined.pem"
    combined.touch(mode=0o600)
    combined.write_text((state / "cert.pem").read_text() + (state / "key.pem").read_text())
    first = (
        f"frontend plain\n bind 127.0.0.1:{port}\n default_backend across\n"
        f"backend across\n server other 127.0.0.1:{between} ssl crt {combined} "
        f"ca-file {state}/ca.pem verify required sni str(server) ssl-min-ver TLSv1.2 "
        f"ssl-max-ver TLSv1.2 ciphers {_CIPHERS}\n"
    )
    return _haproxy(folder, first, _haproxy_tls(between, identities, behind))


def _hitch_forwards(
    port: int, identities: Identities, behind: int, folder: Path
) -> list[list[str | Path]]:
    config = folder / "hitch.conf"
    config.write_text(
        f'frontend = "[127.0.0.1]:{port}"\nbackend = "[127.0.0.1]:{behind}"\n'
        f'pem-file = "{identities.combined}"\nworkers = 1\ndaemon = off\nuser = "root"\n'
        f'tls-protos = TLSv1.2\nciphers = "{_CIPHERS}"\nclient-verify = required\n'
        f'client-verify-ca = "{identities.server}/ca.pem"\nquiet = on\n'
    )
    return [["hitch", f"--config={config}"]]


def _stunnel(folder: Path, *services: str) -> list[list[str | Path]]:
    config = folder / "stunnel.conf"
    config.write_text(f"foreground = yes\npid = {folder}/pid\n" + "".join(services))
    return [["stunnel", config]]


def _stunnel_tls(name: str, accept: int, connect: int, state: Path, *, more: str = "") -> str:
    return (
        f"[{name}]\naccept = 127.0.0.1:{accept}\nconnect = 127.0.0.1:{connect}\n"
        f"cert = {state}/cert.pem\nkey = {state}/key.pem\nCAfile = {state}/ca.pem\n"
        f"verifyChain = yes\nsslVersion = TLSv1.2\nciphers = {_CIPHERS}\n{more}"
    )


def _stunnel_forwards(
    port: int, identities: Identities, behind: int, folder: Path
) -> list[list[str | Path]]:
    return _stunnel(folder, _stunnel_tls("server", port, behind, identities.server))


def _stunnel_pair(
    port: int, identities: Identities, behind: int, folder: Path
) -> list[list[str | Path]]:
    between = _free_port()
    more = "client = yes\ncheckHost = server\n"
    return _stunnel(
        folder,
        _stunnel_tls("server", between, behind, identities.server),
        _stunnel_tls("client", port, between, identities.client, more=more),
    )


def _ghostunnel(port: int, identities: Identities, behind: int) -> list[str | Path]:
    state = identities.server
    return [
        *("ghostunnel", "server", "--listen", f"127.0.0.1:{port}"),
        *("--target", f"127.0.0.1:{behind}", "--cert", state / "cert.pem"),
        *("--key", state / "key.pem", "--cacert", state / "ca.pem"),
        *("--allow-dns", "client", "--max-tls-version", "1.2"),
    ]


def _ghostunnel_pair(
    port: int, identities: Identities, behind: int, folder: Path
) -> list[list[str | Path]]:
    between, state = _free_port(), identities.client
    return [
        _ghostunnel(between, identities, behind),
        [
            *("ghostunnel", "client", "--listen", f"127.0.0.1:{port}"),
            *("--target", f"127.0.0.1:{between}", "--override-server-name", "server"),
            *("--cert", state / "cert.pem", "--key", state / "key.pem"),
            *("--cacert", state / "ca.pem"),
        ],
    ]


def _own(state: Path, folder: Path) -> Path:
    """A copy: a state folder is one process's."""
    own = folder / state.name
    if not own.exists():
        shutil.copytree(state, own)
    return own


def _our_server(
    port: int, identities: Identities, behind: int, folder: Path
) -> list[list[str | Path]]:
    return [
        [
            *(sys.executable, "-m", "asynctls", "server", "--listen", f"127.0.0.1:{port}"),
            *("--app", f"forward:127.0.0.1:{behind}", "--allow", "client"),
            *("--state", _own(identities.server, folder), "--max-connections", "9000"),
            *("--max-connections-per-address", "9000"),
        ]
    ]


def _our_pair(
    port: int, identities: Identities, behind: int, folder: Path
) -> list[list[str | Path]]:
    between = _free_port()
    return [
        *_our_server(between, identities, behind, folder),
        [
            *(sys.executable, "-m", "asynctls", "client", "--listen", f"127.0.0.1:{port}"),
            *("--connect", f"127.0.0.1:{between}", "--server-name", "server"),
            *("--state", _own(identities.client, folder)),
        ],
    ]


ANSWERING = (Kind("nginx return", _nginx_answers, "nginx"),)
"""Who answers by itself; the servers of `pythons` do as well."""

FORWARDING = (
    Kind("asynctls forward", _our_server),
    Kind("nginx proxy_pass", _nginx_forwards, "nginx"),
    Kind("haproxy", _haproxy_forwards, "haproxy"),
    Kind("hitch", _hitch_forwards, "hitch"),
    Kind("stunnel", _stunnel_forwards, "stunnel"),
    Kind("ghostunnel", lambda port, who, behind, _: [_ghostunnel(port, who, behind)], "ghostunnel"),
)
"""Who ends TLS and passes the bytes on."""

PAIRS = (
    Kind("asynctls pair", _our_pair),
    Kind("nginx pair", _nginx_pair, "nginx"),
    Kind("haproxy pair", _haproxy_pair, "haproxy"),
    Kind("stunnel pair", _stunnel_pair, "stunnel"),
    Kind("ghostunnel pair", _ghostunnel_pair, "ghostunnel"),
)
"""Both halves of a tunnel."""
