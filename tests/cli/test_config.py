"""``asynctls config check``: nothing and 0, or every fault and 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run


def test_a_good_file_is_passed_over_in_silence(asynctls: Run, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('[ttp]\nlisten = "127.0.0.1:8440"\n')
    for more in ((), ("--log-format", "json")):
        ended = asynctls("config", "check", "good.toml", *more)
        assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_every_fault_is_printed_with_its_key(asynctls: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('[ttp]\nlisten = 7\ndrain = "soon"\n[sever]\n')
    ended = asynctls("config", "check", "bad.toml")
    assert ended.code == 2
    assert ended.err == ""
    lines = sorted(ended.out.splitlines())
    assert [line.split()[0] for line in lines] == ["sever", "ttp.drain", "ttp.listen"]


def test_a_file_that_is_not_there_is_exit_2(asynctls: Run) -> None:
    ended = asynctls("config", "check", "absent.toml")
    assert ended.code == 2
    assert "absent.toml" in ended.out


def test_names_patterns_and_join_strings_are_judged_as_well(asynctls: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(
        '[ttp]\nname = ["ttp.example", "a b", "spiffe://ttp.example"]\n'
        '[server]\nallow = ["client", "*", "*.example"]\n[client]\njoin = "s3cr3t"\n'
        '[[server.tunnel]]\nlisten = "h:1"\n[[server.tunnel]]\nlisten = "h:2"\nallow = ["a b"]\n'
    )
    bad.chmod(0o600)
    ended = asynctls("config", "check", "bad.toml")
    assert ended.code == 2
    keys = [line.split()[0] for line in ended.out.splitlines()]
    servers = ["server.allow", "server.allow", "server.tunnel[2].allow"]
    assert sorted(keys) == ["client.join", *servers, "ttp.name", "ttp.name"]
    assert ended.out.count("(bad.toml)") == 6
    assert "s3cr3t" not in ended.out


def test_what_the_command_line_may_still_say_is_no_fault(asynctls: Run, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('[ttp]\nlisten = "0.0.0.0:8440"\n[server]\nallow = []\n')
    ended = asynctls("config", "check", "good.toml")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
