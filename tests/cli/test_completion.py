"""Shell completion: what a person gets who presses TAB, from the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Run

# A line as it stands when TAB is pressed, by each shell's own way to be asked without a terminal.
# macOS comes with an older bash, which cannot.
BASH = """
(( BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404 )) || exit 77
eval "$SCRIPT"
complete -p asynctls >/dev/null || exit 1
compopt() { COMPREPLY+=("$2"); }
read -ra COMP_WORDS <<<"$LINE"
[[ $LINE == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_asynctls_completion asynctls
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
autoload -Uz compinit && compinit -D
eval "$SCRIPT"
[[ -n $_comps[asynctls] ]] || exit 1
# What the completion system would show.
_describe() { print -l -- ${${(P)3}%%:*} }
compadd() { print -l -- $completions }
_path_files() { print -- ${${1#-f}:+dirnames}${${1#-/}:+default} }
words=(${=LINE})
[[ $LINE == *" " ]] && words+=("")
CURRENT=$#words
_asynctls_completion
"""
FISH = """
echo "$SCRIPT" | source
complete --do-complete "$LINE" | string replace -r '\\t.*' ''
true
"""
SHELLS = {"bash": ("--norc", "-c", BASH), "zsh": ("-f", "-c", ZSH), "fish": ("-N", "-c", FISH)}


@pytest.fixture(params=SHELLS)
def press_tab(
    request: pytest.FixtureRequest, tmp_path: Path, asynctls: Run
) -> Callable[[str], list[str]]:
    """Completes a line in each shell that is installed."""
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"{request.param} is not installed")
    command = tmp_path / "bin" / "asynctls"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m asynctls \"$@\"\n")
    command.chmod(0o755)

    script = asynctls("completion", request.param).out

    def complete(line: str) -> list[str]:
        ran = subprocess.run(
            [shell, *SHELLS[request.param]],
            env={
                **os.environ,
                "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "SCRIPT": script,
                "LINE": line,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        if ran.returncode == 77:
            pytest.skip(f"{shell} is too old")
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        return ran.stdout.split()

    return complete


def test_a_shell_completes_commands_options_and_their_words(
    press_tab: Callable[[str], list[str]],
) -> None:
    assert press_tab("asynctls ser") == ["server"]
    assert press_tab("asynctls ttp revo") == ["revoke"]
    assert {"--listen", "--log-format"} <= set(press_tab("asynctls server --l"))
    assert press_tab("asynctls server --log-format j") == ["json"]
    assert press_tab("asynctls ttp --allow-key-types ecdsa-p2") == ["ecdsa-p256"]


def test_a_shell_completes_files_and_folders(
    press_tab: Callable[[str], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "server.toml").touch()
    (tmp_path / "server-state").mkdir()
    # bash and zsh look for themselves, fish is given the names.
    assert press_tab("asynctls server --config server.t") in (["default"], ["server.toml"])
    assert press_tab("asynctls server --state server-") in (["dirnames"], ["server-state/"])


def test_completing_a_command_imports_none(asynctls: Run) -> None:
    script = (
        "import sys; from asynctls.cli import main\n"
        "try: main([])\n"
        "finally: print(sorted(name for name in sys.modules if name.startswith('asynctls.')))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **os.environ,
            "_ASYNCTLS_COMPLETE": "bash_complete",
            "COMP_WORDS": "asynctls ",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    *proposed, modules = ran.stdout.splitlines()
    assert "plain,server" in proposed
    assert "asynctls.cli.server" not in modules
    assert "asynctls.config" not in modules


def test_another_shell_is_a_wrong_command_line(asynctls: Run) -> None:
    ended = asynctls("completion", "tcsh")
    assert ended.code == 2
    assert "bash" in ended.err
