"""``asynctls demo``: the transcript in its order, the summary, and what a terminal makes of it."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.one_loop

OTP = "The OTP for transferring Rs 1,00,000 to your friend's account is 256345."
MADE, FOUND = "CA certificate made at ", "CA certificate found at "
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
# Who says what, in this order; other lines may stand between.
STEPS = [
    ("TTP", "CA certificate "),
    ("TTP", "listens on 127.0.0.1:"),
    ("Server", "made its RSA 2048 key pair"),
    ("Server", "asks the TTP"),
    ("TTP", "issued certificate "),
    ("Server", "has its certificate"),
    ("Server", "listens on 127.0.0.1:"),
    ("Client", "made its RSA 2048 key pair"),
    ("Client", "asks the TTP"),
    ("TTP", "issued certificate "),
    ("Client", "has its certificate"),
    ("Client", "verified server's certificate"),
    ("Client", OTP),
    ("Client", "Message received"),
    ("Server", "message sent: client's authenticated receipt is in"),
    ("Server", "session with client ended"),
]
PARTS = [
    "hellos",
    "certificates",
    "key exchange",
    "certificate verify",
    "change cipher spec and finished",
    "shared secret",
    "message",
    "receipt",
    "close",
    "in all",
]
OPERATIONS = [
    "RSA 2048 key generation, server",
    "RSA 2048 key generation, client",
    "certificate signed by the TTP, server",
    "certificate signed by the TTP, client",
    "RSA 2048 signature",
    "RSA 2048 signature verified",
    "HMAC of all frames, server",
    "HMAC of all frames, client",
]


def check_steps(lines: list[str]) -> None:
    rest = iter(lines)
    for role, words in STEPS:
        beginning = f"{role:<8}{words}"
        assert any(line.startswith(beginning) for line in rest), (beginning, lines)


def check_summary(lines: list[str]) -> None:
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines]
    names = [row[0] for row in cells]
    for title in ("Certificates", "Bytes sent, TLS records included", "Time taken"):
        assert title in names
    for name in ("server", "client"):
        assert any(row[0] == name and "RSA 2048" in row for row in cells)
    assert any(row[0].startswith("asynctls root CA") and "RSA 3072" in row for row in cells)
    assert any(re.search(r"TLSv1\.2, ECDHE-RSA-AES256-GCM-SHA384", line) for line in lines)
    assert any("1 sent, verified and acknowledged" in line for line in lines)
    sent = {row[0]: row[1:] for row in cells if len(row) == 3}
    for part in PARTS:
        assert any(number != "-" for number in sent[part]), part
    took = {row[0]: row[1] for row in cells if len(row) == 2}
    for operation in OPERATIONS:
        assert re.fullmatch(r"[\d,.]+ (ms|µs)", took[operation]), operation


async def test_it_runs_twice_and_finds_its_ca_again(demo: Any, tmp_path: Path) -> None:
    # Longer than any line of a terminal: what is no terminal gets it whole.
    state = tmp_path / ("a-long-name-" * 10)
    first = await demo(state)
    assert await first.ended() == (0, "")
    text = "\n".join(first.lines)
    assert "\x1b" not in text
    assert f"{MADE}{state}/ttp/root.pem, valid for 3652 days" in text
    check_steps(first.lines)
    check_summary(first.lines)
    assert text.count(OTP) == 1
    assert not first.has_left_something

    second, shown = await on_a_terminal(demo, state)
    assert await second.ended() == (0, "")
    assert ESCAPE.search(shown), "a terminal shows colours"
    lines = ESCAPE.sub("", shown).splitlines()
    text = "\n".join(lines)
    assert MADE not in text
    assert f"{FOUND}{state}/ttp/root.pem" in text.replace("\n", "")
    check_steps(lines)
    check_summary(lines)
    assert not second.has_left_something
    assert (state.stat().st_mode & 0o777) == 0o700


async def on_a_terminal(demo: Any, state: Path) -> tuple[Any, str]:
    """The demo with a pseudo-terminal as its standard output, and all that it shows."""
    ours, its = os.openpty()
    run = await demo(state, stdout=its)
    os.close(its)
    shown = b""
    try:
        # A terminal whose other end is closed is an error on Linux, an end elsewhere.
        while chunk := await asyncio.to_thread(os.read, ours, 65536):
            shown += chunk
    except OSError:
        pass
    finally:
        os.close(ours)
    return run, shown.decode()


async def test_a_state_folder_that_cannot_be_used_is_one_line_and_exit_1(
    demo: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    run = await demo(tmp_path / "file")
    code, err = await run.ended()
    assert (code, run.lines) == (1, [])
    (line,) = err.splitlines()
    assert line.startswith("asynctls: ")
    assert str(tmp_path / "file") in line


async def test_a_role_that_fails_is_told_and_the_others_are_stopped(
    demo: Any, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    (state / "ttp").mkdir(parents=True)
    state.chmod(0o700)
    (state / "ttp").chmod(0o755)
    run = await demo(state)
    code, err = await run.ended()
    assert code == 1
    (line,) = err.splitlines()
    assert line.startswith("asynctls: the ttp ended")
    assert any(str(state / "ttp") in told for told in run.lines)
    assert not run.has_left_something
