"""`asynctls costs` where it comes to nothing: one line that says why, and the exit code."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from asynctls.costs.report import Conversation, Cost, Group, Handshake, Message, Report
from asynctls.testing import CA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asynctls.config import CostsConfig
    from tests.cli.conftest import Run


def test_a_server_that_is_not_there_is_told_in_one_line(asynctls: Run, tmp_path: Path) -> None:
    state = str(CA(tmp_path).identity("client").folder)
    # Port 1 is nobody's.
    ended = asynctls("costs", "--connect", "127.0.0.1:1", "--state", state)
    assert (ended.code, ended.out) == (1, "")
    assert "the server at 127.0.0.1:1 cannot be reached: Connection refused" in ended.err


def test_without_an_identity_nothing_is_connected_to(asynctls: Run, tmp_path: Path) -> None:
    ended = asynctls("costs", "--connect", "127.0.0.1:1", "--state", str(tmp_path / "nobody"))
    assert (ended.code, ended.out) == (1, "")
    assert "there is no identity in" in ended.err


def test_a_server_name_is_for_a_server_of_others(asynctls: Run) -> None:
    ended = asynctls("costs", "--server-name", "server")
    assert (ended.code, ended.out) == (2, "")
    assert "set connect as well" in ended.err


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody can write to, root neither."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    if os.geteuid() != 0:
        yield folder
        return
    mount = ("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder))
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(("umount", str(folder)), check=True)


def test_a_page_that_cannot_be_written_is_told_before_anything_is_run(
    asynctls: Run, tmp_path: Path, read_only: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "loop.html").symlink_to(tmp_path / "loop.html")
    for place, problem in (
        (tmp_path / "loop.html" / "costs.html", "there is no folder"),
        (tmp_path / "missing" / "costs.html", f"there is no folder {tmp_path / 'missing'}"),
        (tmp_path, "is no file"),
        (tmp_path / "pipe", "is no file"),
        (tmp_path / "link", "is no file"),
        (read_only / "costs.html", f"the folder {read_only} cannot be written"),
    ):
        ended = asynctls("costs", "--html", str(place))
        assert (ended.code, ended.out) == (2, "")
        assert "costs.html" in ended.err
        assert problem in ended.err
    assert (tmp_path / "pipe").is_fifo()
    assert list(read_only.iterdir()) == []


def of_one_message() -> Report:
    hello = Message(
        at_us=0.0,
        sender="client",
        receiver="server",
        name="ClientHello",
        group=Group.HELLOS,
        octets=174,
    )
    told = Conversation(
        title="one",
        kind="session",
        began_us=0.0,
        key_type="rsa-2048",
        handshake=Handshake.FULL,
        sent_messages=1,
        version="TLS 1.2",
        cipher="ECDHE-RSA-AES256-GCM-SHA384",
        messages=(hello,),
        groups={Group.HELLOS: Cost(octets=174, records=1, by_sender={"client": 174})},
        octets=174,
        payload=0,
        overhead=1.0,
        round_trips=1,
        segments={"client": 1},
        loopback_segments={"client": 1},
        duration_us=1.0,
    )
    return Report(
        made_at="2026-11-28T20:00:00Z",
        machine="this one",
        conversations=(told,),
        operations=(),
        aes_against_rsa=0.0,
        cards=(),
    )


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Measures nothing, which takes no time: ``at_once(meanwhile)``."""

    def measuring(meanwhile: Callable[[], None]) -> None:
        async def asked(_config: CostsConfig, *, tell: Callable[[str], None]) -> Report:
            del tell
            meanwhile()
            return of_one_message()

        monkeypatch.setattr("asynctls.costs.asked.asked", asked)

    return measuring


def test_a_page_is_for_everybody_and_a_link_to_it_stays(
    asynctls: Run, tmp_path: Path, at_once: Callable[[Callable[[], None]], None]
) -> None:
    at_once(lambda: None)
    link = tmp_path / "latest.html"
    link.symlink_to(tmp_path / "costs.html")
    ended = asynctls("costs", "--json", "--html", str(link))
    assert (ended.code, ended.err) == (0, "")
    assert link.is_symlink()
    assert "ClientHello" in (tmp_path / "costs.html").read_text()
    assert (tmp_path / "costs.html").stat().st_mode & 0o777 == 0o644
    assert json.loads(ended.out)["hellos"]["octets"] == 174


def test_signs_that_a_locale_has_not_are_escaped(
    asynctls: Run,
    at_once: Callable[[Callable[[], None]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once(lambda: None)
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding="latin-1") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert asynctls("costs").code == 0
        assert b"ClientHello" in written.getvalue()
        assert rb"\u2502" in written.getvalue()


@pytest.mark.parametrize("words", [("--json",), ()])
def test_a_page_that_cannot_be_written_after_all_does_not_take_the_figures_with_it(
    words: tuple[str, ...],
    asynctls: Run,
    tmp_path: Path,
    at_once: Callable[[Callable[[], None]], None],
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    at_once(folder.rmdir)
    ended = asynctls("costs", "--html", str(folder / "costs.html"), *words)
    assert ended.code == 1
    assert "ClientHello" in ended.out
    assert f"cannot write {folder / 'costs.html'}" in ended.err
