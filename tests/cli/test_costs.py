"""`asynctls costs` where it comes to nothing: one line that says why, and the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.testing import CA

if TYPE_CHECKING:
    from pathlib import Path

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


def test_a_page_that_cannot_be_written_is_told_before_anything_is_run(
    asynctls: Run, tmp_path: Path
) -> None:
    ended = asynctls("costs", "--html", str(tmp_path / "missing" / "costs.html"))
    assert (ended.code, ended.out) == (2, "")
    assert "costs.html" in ended.err
    assert "there is no folder" in ended.err
