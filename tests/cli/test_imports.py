"""What a command may not import: a person waits for it, and it has no use for it.

Each runs in a process of its own, since what another one has imported would hide it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import asynctls

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Joined

pytestmark = pytest.mark.one_loop

SCRIPT = """
import json, sys
from asynctls.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
sys.stdout = sys.stderr
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules}),
                  [name for name in sys.modules if name.startswith("asynctls.")]]))
"""
ANY_WORK = {"asyncio", "cryptography", "sqlalchemy", "ssl", "structlog", "uvloop"}
DRAWING = {"jinja2", "prometheus_client", "rich"}
QUESTION = {
    "_ASYNCTLS_COMPLETE": "bash_complete",
    "COMP_WORDS": "asynctls client --l",
    "COMP_CWORD": "2",
}


def imported(*words: str | Path, code: int = 0, **environ: str) -> tuple[set[str], set[str]]:
    """The packages that a command has imported, and of ours the modules."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, words)],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "ASYNCTLS_LOOP"}
        | environ,
        check=True,
    )
    ended, packages, modules = json.loads(done.stderr.splitlines()[-1])
    assert ended == code, done.stderr
    return set(packages), set(modules)


@pytest.mark.parametrize(
    ("words", "environ"),
    [
        (("--version",), {}),
        (("--help",), {}),
        (("nonsense",), {}),
        ((), QUESTION),
        (("client", "--help"), {}),
        (("ttp", "list", "--help"), {}),
    ],
    ids=["version", "help", "wrong", "completed", "help of one", "help of a verb"],
)
def test_who_asks_what_can_be_done_waits_for_nothing_that_does_it(
    words: tuple[str, ...], environ: Mapping[str, str]
) -> None:
    code = 2 if words == ("nonsense",) else 0
    packages, modules = imported(*words, code=code, **environ)
    assert not packages & (ANY_WORK | DRAWING)
    assert not {name for name in modules if name.startswith(("asynctls.client", "asynctls.ttp"))}
    if len(words) == 1 and words[0].startswith("--"):
        assert "msgspec" not in packages


async def test_who_asks_who_he_is_speaks_with_nobody(joined: Joined, tmp_path: Path) -> None:
    await joined("server")
    asked = ("identity", "--state", tmp_path / "server")
    packages, modules = await asyncio.to_thread(imported, *asked)
    assert not packages & (DRAWING | {"h11", "sqlalchemy", "structlog", "uvloop"})
    assert not {name for name in modules if name.startswith(("asynctls.http", "asynctls.session"))}


async def test_a_client_has_neither_a_ledger_nor_anything_that_draws(
    joined: Joined, tmp_path: Path
) -> None:
    await joined("server")
    await joined("client")

    async def greet(session: asynctls.Session) -> None:
        await session.send(b"hello")

    serving = asynctls.serving(greet, "127.0.0.1:0", identity=tmp_path / "server", allow=["client"])
    async with serving as address:
        packages, modules = await asyncio.to_thread(
            imported,
            *("client", "--connect", str(address), "--server-name", "server"),
            *("--state", tmp_path / "client"),
        )
    assert {"cryptography", "h11", "structlog"} <= packages
    assert not packages & (DRAWING | {"alembic", "greenlet", "sqlalchemy", "tomllib"})
    # It has its TTP's CAs, and is not sent them; and it serves no HTTP.
    assert not modules & {"asynctls.enrolment.est_certificates", "asynctls.http.server"}


def test_the_ttp_s_verbs_serve_nobody(tmp_path: Path) -> None:
    folder = ("--state", tmp_path / "ttp")
    imported("ttp", "token", "server", "--name", "localhost", *folder)
    packages, _ = imported("ttp", "list", *folder)
    assert "sqlalchemy" in packages
    assert not packages & (DRAWING | {"alembic", "h11"})


def test_nobody_looks_for_garbage_while_a_command_imports() -> None:
    script = (
        "import click, gc; from asynctls.cli import commands, main\n"
        "commands.add_command(click.Command('look', callback=lambda: 7 + gc.isenabled()))\n"
        "commands.get_command = lambda context, name: commands.commands[name]\n"
        "main(['look'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == 7
