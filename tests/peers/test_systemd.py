"""configs/systemd: what systemd itself says of the example units, and the daemons under it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.conftest import Program

UNITS = Path(__file__).parents[2] / "configs" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
INSTALLED = "/usr/local/bin/asynctls"
# Of 10, in tenths: systemd calls up to 2 "OK", and 9.6 is what a unit without any of it has.
MOST_EXPOSED = 15


def run(*words: str | Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, words)], text=True, capture_output=True, check=False, **settings
    )


def test_systemd_finds_no_fault_in_the_units(program: Program, tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    for unit in UNITS.iterdir():
        # Where it is installed is the user's affair; here is where something is.
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, "/bin/true"))
    told = run(analyze, "verify", *sorted(tmp_path.iterdir()))
    assert (told.returncode, told.stderr.strip()) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_lets_the_daemon_do_what_it_must_and_hardly_more(
    name: str, program: Program
) -> None:
    told = run(
        program("systemd-analyze"),
        *("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", UNITS / name),
    )
    assert told.returncode == 0, told.stdout


def test_a_ttp_serves_on_the_sockets_that_were_opened_for_it(
    program: Program, tmp_path: Path
) -> None:
    ports = free_port(), free_port()
    asynctls = (sys.executable, "-m", "asynctls", "ttp", "--state", tmp_path / "ttp")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        with subprocess.Popen(
            [
                program("systemd-socket-activate"),
                *(word for port in ports for word in ("-l", f"127.0.0.1:{port}")),
                "--fdname=listen:status_listen",
                *("-E", f"NOTIFY_SOCKET={tmp_path / 'notify'}", "-E", "PYTHONPATH", "-E", "HOME"),
                *map(str, asynctls),
                # Taken by nobody: the sockets stand in for these.
                *("--listen", "192.0.2.1:1", "--status-listen", "192.0.2.1:1"),
                *("--name", "localhost", "--root-key-type", "ecdsa-p256"),
                *("--issuing-key-type", "ecdsa-p256", "--log-format", "json"),
            ],
            stderr=subprocess.PIPE,
            text=True,
        ) as activating:
            assert activating.stderr is not None
            try:
                for _ in ports:
                    assert activating.stderr.readline().startswith("Listening on ")
                # Nothing runs so far: whoever connects has it started, and waits.
                with socket.create_connection(("127.0.0.1", ports[1]), timeout=30) as asking:
                    asking.sendall(b"GET /crl HTTP/1.0\r\n\r\n")
                    assert asking.recv(15) == b"HTTP/1.1 200 OK"
                assert [manager.recv(200), manager.recv(200)] == [
                    b"STATUS=starting",
                    b"READY=1\nSTATUS=serving",
                ]
                activating.terminate()
                _, said = activating.communicate(timeout=30)
            finally:
                activating.kill()
    assert activating.returncode == 0
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    where = {event["event"]: event["address"] for event in events if "address" in event}
    assert where["listening"] == f"127.0.0.1:{ports[0]}"
    assert where["status served"] == f"127.0.0.1:{ports[1]}"


# Runs as root in the container, where systemd is the first process.
SCENARIO = """\
#!/bin/sh
set -eux
trap 'journalctl --no-pager --output=cat' EXIT
admin() {
    systemd-run --quiet --pipe --collect -p DynamicUser=yes -p User=asynctls-ttp \
        -p StateDirectory=asynctls-ttp /opt/asynctls "$@" --state /var/lib/asynctls-ttp
}
say() { echo "== $*"; }

# Type=notify: 'start' is back once the daemon has said that it serves.
systemctl start asynctls-ttp.socket asynctls-ttp.service
admin ttp token server > /etc/server.join
admin ttp token client > /etc/client.join
systemctl start asynctls-server.socket asynctls-server.service
say "$(systemctl show --value -p StatusText asynctls-server.service)"
/opt/asynctls client --state /root/client --join-file /etc/client.join --server-name server
systemctl reload asynctls-server.service

# What does not answer its watchdog is started again.
systemctl kill --kill-who=main --signal=STOP asynctls-server.service
until [ "$(systemctl show --value -p NRestarts asynctls-server.service)" = 1 ]; do sleep 0.1; done
# The socket is there all the while: who comes now waits until somebody serves it.
/opt/asynctls client --state /root/client --server-name server
systemctl stop asynctls-server.service asynctls-ttp.service
for each in asynctls-server asynctls-ttp; do
    say "$each $(systemctl show --value -p Result $each.service)"
done
say all done
"""
WRAPPER = """\
#!/bin/sh
export PYTHONPATH=/opt/src:/opt/site LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/bin/INTERPRETER -P -m asynctls "$@"
"""
OVER = """\
[Service]
ExecStart=
ExecStart=/opt/asynctls server --state /var/lib/asynctls-server --allow client --workers 2
LoadCredential=join:/etc/server.join
Environment=ASYNCTLS_JOIN_FILE=%d/join
WatchdogSec=2s
TimeoutStopSec=3s
"""
TARGET = """\
[Unit]
Requires=basic.target
After=basic.target
Wants=scenario.service
"""
RUNS_IT = """\
[Unit]
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/opt/scenario
StandardOutput=file:/root/said
StandardError=file:/root/said
"""


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """A root with nothing in it but the units, and places for what is lent from this machine."""
    root = tmp_path / "root"
    for folder in ("etc/systemd/system/asynctls-server.service.d", "usr", "var", "run", "tmp"):
        (root / folder).mkdir(parents=True)
    for folder in ("proc", "sys", "dev", "root", "opt/python", "opt/site", "opt/src"):
        (root / folder).mkdir(parents=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        (root / link).symlink_to(f"usr/{link}")
    for file in ("passwd", "group", "nsswitch.conf"):
        shutil.copy(f"/etc/{file}", root / "etc" / file)
    units = root / "etc" / "systemd" / "system"
    for unit in UNITS.iterdir():
        (units / unit.name).write_text(unit.read_text().replace(INSTALLED, "/opt/asynctls"))
    python = Path(sys.executable).resolve().name
    for path, content in (
        (units / "asynctls-server.service.d" / "test.conf", OVER),
        (units / "scenario.service", RUNS_IT),
        (units / "default.target", TARGET),
        (root / "etc" / "os-release", "ID=here\n"),
        (root / "etc" / "machine-id", ""),
        (root / "etc" / "hosts", "127.0.0.1 localhost\n"),
        (root / "opt" / "asynctls", WRAPPER.replace("INTERPRETER", python)),
        (root / "opt" / "scenario", SCENARIO),
    ):
        path.write_text(content)
    for program_ in ("asynctls", "scenario"):
        (root / "opt" / program_).chmod(0o755)
    return root


@pytest.mark.timeout(150)
def test_the_units_run_under_systemd_as_first_process(program: Program, container: Path) -> None:
    nspawn = program("systemd-nspawn")
    if os.geteuid() != 0:
        pytest.skip("a container wants root")
    lent = {
        "/usr": Path("/usr"),
        "/opt/python": Path(sys.base_prefix),
        "/opt/site": Path(sysconfig.get_path("purelib")),
        "/opt/src": Path(library.__file__).parents[1],
    }
    words = [
        *("--quiet", f"--directory={container}", "--register=no", "--keep-unit"),
        *("--private-network", *(f"--bind-ro={here}:{there}" for there, here in lent.items())),
    ]
    tried = run(nspawn, *words, "/bin/true")
    if tried.returncode != 0:
        pytest.skip(f"this machine allows no container: {tried.stderr.strip()[:200]}")
    booted = run(nspawn, *words, "--boot", timeout=120)
    said = (container / "root" / "said").read_text()
    assert [line[3:] for line in said.splitlines() if line.startswith("== ")] == [
        "serving by 2 workers",
        "asynctls-server success",
        "asynctls-ttp success",
        "all done",
    ], said + booted.stdout
    assert said.count("Message received") == 2
    for line in ("SIGABRT", "watchdog"):
        assert line in said, said
