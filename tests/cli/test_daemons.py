"""The commands together, as a person types them: daemons as processes, the rest beside them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asynctls.enrolment import JoinString
from asynctls.state import FolderLock, make_private_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Run

COMMAND = (sys.executable, "-m", "asynctls")
MESSAGE = "The OTP for transferring Rs 1,00,000 to your friend's account is 256345."


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon, as far as its log is read."""

    process: subprocess.Popen[str]

    def wait_for(self, event: str) -> dict[str, object]:
        """Reads the log up to an event, and gives that; the test's time-out bounds it."""
        assert self.process.stderr is not None
        read = []
        for line in self.process.stderr:
            read.append(line)
            # What is no event (a traceback) is shown below, when the daemon has ended.
            entry: dict[str, object] = json.loads(line) if line.startswith("{") else {}
            if entry.get("event") == event:
                return entry
        pytest.fail(f"the daemon ended without {event!r}: {''.join(read)}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)
        return self.process.returncode


@pytest.fixture
def start() -> Iterator[Callable[..., Daemon]]:
    """Starts daemons; those that the test did not stop are killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*words: str) -> Daemon:
        process = subprocess.Popen(
            [*COMMAND, *words, "--log-format", "json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return Daemon(process)

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def ttp(start: Callable[..., Daemon]) -> Daemon:
    """A TTP that listens, its state in ``ttp``."""
    key_types = ("--root-key-type", "ecdsa-p256", "--issuing-key-type", "ecdsa-p256")
    daemon = start("ttp", "--state", "ttp", "--listen", "127.0.0.1:0", *key_types)
    daemon.wait_for("listening")
    return daemon


def test_one_enrolment_by_hand(asynctls: Run, ttp: Daemon) -> None:
    token = asynctls("ttp", "token", "server", "--state", "ttp")
    join = ("identity", "join", "--key-type", "ecdsa-p256", "--state", "server")
    joined = asynctls(*join, "--join-file", "-", given=token.out)
    assert joined.code == 0, joined.err
    assert "server" in joined.out

    facts = json.loads(asynctls("identity", "--json", "--state", "server").out)
    assert (facts["name"], facts["status"], facts["sans"]) == ("server", "valid", ["server"])
    assert all(Path(facts[name]).is_file() for name in ("key", "certificate", "ca", "crl"))
    words = asynctls("identity", "--state", "server").out
    assert facts["serial"] in words
    assert facts["not_after"] in words
    assert facts["pin"] in words

    (listed,) = asynctls("ttp", "list", "--json", "--state", "ttp").out.splitlines()
    assert json.loads(listed) == {
        name: facts[name]
        for name in ("serial", "name", "sans", "not_before", "not_after", "status")
    }
    assert facts["serial"] in asynctls("ttp", "list", "--state", "ttp").out

    revoked = asynctls("ttp", "revoke", "server", "--state", "ttp", "--reason", "superseded")
    assert revoked.out == f"{facts['serial']}\n"
    assert asynctls("ttp", "list", "--status", "valid", "--state", "ttp").out == ""
    assert facts["serial"] in asynctls("ttp", "list", "--status", "revoked", "--state", "ttp").out
    assert ttp.stop() == 0


def test_a_valid_identity_is_kept_whatever_the_join_string(
    asynctls: Run, ttp: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCTLS_JOIN", asynctls("ttp", "token", "client", "--state", "ttp").out)
    join = ("identity", "join", "--key-type", "ecdsa-p256", "--state", "client")
    assert asynctls(*join).code == 0
    before = asynctls("identity", "--json", "--state", "client").out
    again = asynctls(*join)
    assert again.code == 0
    assert "join string ignored" in again.err
    assert asynctls("identity", "--json", "--state", "client").out == before


def test_nobody_joins_beside_a_daemon_and_a_valid_identity_is_told_all_the_same(
    asynctls: Run, ttp: Daemon, tmp_path: Path
) -> None:
    words = ("identity", "join", "--key-type", "ecdsa-p256", "--state", "role", "--join-file", "-")
    token = asynctls("ttp", "token", "client", "--state", "ttp").out
    make_private_folder(tmp_path / "role")
    with FolderLock(tmp_path / "role"):
        held_off = asynctls(*words, given=token)
        assert (held_off.code, held_off.out) == (1, "")
        assert f"another process ({os.getpid()}) holds the state folder" in held_off.err
    joined = asynctls(*words, given=token)
    assert joined.code == 0
    with FolderLock(tmp_path / "role"):
        assert asynctls(*words, given=token).out == joined.out


def test_identity_takes_the_clients_else_the_servers_and_says_which(
    asynctls: Run, ttp: Daemon, home: Path
) -> None:
    for role in ("server", "client"):
        folder = str(home / "state" / "asynctls" / role)
        token = asynctls("ttp", "token", role, "--state", "ttp").out
        join = ("identity", "join", "--key-type", "ecdsa-p256", "--state", folder)
        assert asynctls(*join, environ={"ASYNCTLS_JOIN": token}).code == 0
        assert json.loads(asynctls("identity", "--json").out)["state"] == folder


def test_a_token_that_was_used_is_refused_in_one_line(asynctls: Run, ttp: Daemon) -> None:
    token = asynctls("ttp", "token", "client", "--state", "ttp").out
    join = ("identity", "join", "--key-type", "ecdsa-p256", "--join-file", "-", "--state")
    assert asynctls(*join, "first", given=token).code == 0
    second = asynctls(*join, "second", given=token)
    assert (second.code, second.out) == (1, "")
    assert second.err.splitlines()[-1].startswith("asynctls: ")
    assert JoinString.parse(token).secret.reveal().decode() not in second.err


def test_without_a_join_string_one_line_says_how_to_get_one(asynctls: Run) -> None:
    for words in (("identity",), ("identity", "join"), ("client",)):
        ended = asynctls(*words)
        assert (ended.code, ended.out) == (1, ""), words
        (line,) = ended.err.splitlines()
        assert line.startswith("asynctls: there is no identity")


def test_three_roles_by_hand_and_the_message_alone_on_standard_output(
    asynctls: Run, ttp: Daemon, start: Callable[..., Daemon], tmp_path: Path
) -> None:
    for role in ("server", "client"):
        path = tmp_path / f"{role}.join"
        path.touch(mode=0o600)
        path.write_text(asynctls("ttp", "token", role, "--state", "ttp").out)
    quick = ("--key-type", "ecdsa-p256")
    join = ("--join-file", "server.join", *quick)
    server = start(
        "server", *join, "--state", "server", "--allow", "client", "--listen", "127.0.0.1:0"
    )
    address = str(server.wait_for("listening")["address"])
    connect = ("client", "--state", "client", "--connect", address, "--server-name", "server")
    first = asynctls(*connect, "--join-file", "client.join", *quick)
    assert (first.code, first.out) == (0, f"{MESSAGE}\n"), first.err
    assert "Message received" in first.err.splitlines()
    second = json.loads(asynctls(*connect, "--json").out)
    assert second["message"] == MESSAGE
    assert server.stop() == 0
    gone = asynctls(*connect)
    assert (gone.code, gone.out) == (1, "")
    assert gone.err.splitlines()[-1].startswith("asynctls: ")


def test_a_server_that_would_let_nobody_in_is_exit_2(asynctls: Run) -> None:
    ended = asynctls("server")
    assert (ended.code, ended.out) == (2, "")
    assert "--allow" in ended.err
