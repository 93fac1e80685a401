"""Somebody who does what a guide says, block by block, in a folder of their own."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shutil
import signal
import sys
import types
from typing import TYPE_CHECKING, Any, Self

import asynctls
from tests.docs.pages import ROOT, Block, Command
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import LogWatch

__all__ = ["Reader"]

_PATIENCE_S = 30.0
_DEFAULT_PORTS = ("8440", "8443")
_ASYNCTLS = """\
#!/bin/sh
exec '{python}' -m asynctls "$@"
"""
_SETTINGS = """\
[ttp]
listen = "127.0.0.1:8440"
[server]
listen = "127.0.0.1:8443"
[client]
connect = "127.0.0.1:8443"
"""


class Reader:
    """Runs commands by bash and Python on the test's own loop; what stays is ended at the end.

    Args:
        folder: where the commands run; an own home, a copy of ``configs/``, small keys.
        logged: what is logged in this process, by Python blocks.
        instead: what is written here for what stands in the guide: paths, hosts. Ports are seen to.
    """

    def __init__(
        self, folder: Path, logged: LogWatch, *, ports: tuple[str, ...], instead: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.ports = {port: free_port() for port in (*_DEFAULT_PORTS, *ports)}
        self._instead = dict(instead)
        self._logged = logged
        self._names: dict[str, Any] = {"asyncio": asyncio, "asynctls": asynctls}
        self._staying: list[tuple[asyncio.subprocess.Process, asyncio.Task[None]]] = []
        self._tasks: list[asyncio.Task[object]] = []

    async def __aenter__(self) -> Self:
        programs = self.folder / "bin"
        programs.mkdir(parents=True, exist_ok=True)
        (programs / "asynctls").write_text(_ASYNCTLS.format(python=sys.executable))
        (programs / "asynctls").chmod(0o755)
        shutil.copytree(ROOT / "configs", self.folder / "configs", dirs_exist_ok=True)
        for file in (self.folder / "configs").glob("*.toml"):
            # The addresses stand there as the defaults that they are.
            text = re.sub(r"^# (?=(listen|connect) = .*:844[03])", "", file.read_text(), flags=re.M)
            file.write_text(self.adapted(text))
        (self.folder / "settings.toml").write_text(self.adapted(_SETTINGS))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        """Ends all that stays, the last one first; none of it may have ended by itself."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        async with asyncio.timeout(_PATIENCE_S):
            while self._staying:
                process, reading = self._staying.pop()
                ended = process.returncode
                if ended is None:
                    os.killpg(process.pid, signal.SIGTERM)
                await process.wait()
                await reading
                assert ended is None, f"what was to stay ended with exit {ended}"

    def adapted(self, text: str) -> str:
        """The guide's text with our ports and paths."""
        for theirs, ours in self._instead.items():
            text = text.replace(theirs, ours)
        return re.sub(
            rf"(?<=[:/])({'|'.join(self.ports)})\b", lambda found: str(self.ports[found[0]]), text
        )

    def environ(self) -> dict[str, str]:
        """A home of its own, none of the settings of whoever runs the tests, keys made quickly."""
        others = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCTLS_", "XDG_"))}
        return others | {
            "HOME": str(self.folder),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONWARNINGS": "error",
            "ASYNCTLS_CONFIG": str(self.folder / "settings.toml"),
            "ASYNCTLS_LOG_FORMAT": "json",
            "ASYNCTLS_KEY_TYPE": "ecdsa-p256",
            "ASYNCTLS_ROOT_KEY_TYPE": "ecdsa-p256",
            "ASYNCTLS_ISSUING_KEY_TYPE": "ecdsa-p256",
        }

    async def read(self, block: Block) -> None:
        """Does what the block says; a file that it shows is written."""
        if block.not_run is not None:
            return
        if block.stops:
            await self._stop()
        if block.file is not None:
            (self.folder / block.file).write_text(self.adapted(block.text))
        elif block.language == "console":
            for command in block.commands:
                await self._type(command, block)
        elif block.language == "python":
            await self._run(block)

    async def _type(self, command: Command, block: Block) -> None:
        """Runs a command to its end, or until it listens."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-o", "pipefail", "-c", self.adapted(command.text)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.folder,
            env=self.environ(),
            start_new_session=True,
        )
        wrote: list[str] = []
        stays = asyncio.Event()
        reading = asyncio.create_task(self._follow(process, wrote, stays))
        self._staying.append((process, reading))
        staying = asyncio.create_task(stays.wait())
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.wait((staying, reading), return_when=asyncio.FIRST_COMPLETED)
                if stays.is_set():
                    return
                code = await process.wait()
                self._staying.remove((process, reading))
                await reading
        except TimeoutError:
            raise AssertionError(f"{block}: {command.text!r} goes on and on: {wrote}") from None
        finally:
            staying.cancel()
            await asyncio.gather(staying, return_exceptions=True)
        assert code == 0, f"{block}: {command.text!r}: exit {code}: {wrote}"
        missing = [line for line in command.prints if not _among(self.adapted(line), wrote)]
        assert not missing, f"{block}: {command.text!r} does not print {missing}, but {wrote}"

    async def _follow(
        self, process: asyncio.subprocess.Process, wrote: list[str], stays: asyncio.Event
    ) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode().rstrip("\n")
            assert "Traceback" not in text, text
            wrote.append(text)
            if text.startswith("{") and json.loads(text).get("event") == "listening":
                stays.set()

    async def _run(self, block: Block) -> None:
        """Runs Python to its end, or until it listens; names stay known to the blocks after it."""
        tree = _Awaiting().visit(ast.parse(self.adapted(block.text), str(block)))
        code = compile(
            ast.fix_missing_locations(tree), str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        # pytest, or a reader's own module, finds classes and functions by it.
        self._names["__name__"] = "guide"
        if not code.co_flags & inspect.CO_COROUTINE:
            exec(code, self._names)
            return
        before = len(self._logged.named("listening"))
        task = asyncio.create_task(types.FunctionType(code, self._names)())
        self._tasks.append(task)
        listens = asyncio.create_task(self._logged.until("listening", count=before + 1))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.wait((task, listens), return_when=asyncio.FIRST_COMPLETED)
        finally:
            listens.cancel()
            await asyncio.gather(listens, return_exceptions=True)
        if task.done():
            await task


class _Awaiting(ast.NodeTransformer):
    """``asyncio.run(x)`` as ``await x``: the test's loop runs already."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        match node.value:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="asyncio"), attr="run"), args=[awaited]
            ):
                node.value = ast.Await(awaited)
        return node


def _among(line: str, wrote: list[str]) -> bool:
    """Whether a line was printed, but for what differs each time.

    Those are numbers, fingerprints, spaces, and what the page has … for.
    """
    pattern = re.sub(
        r"(?P<hex>[0-9A-Fa-f]{16,})|(?P<number>[0-9]+)|(?P<any>…)|(?P<space>\s+)|(?P<other>.)",
        lambda found: _PATTERNS.get(found.lastgroup or "", re.escape(found[0])),
        line.strip(),
    )
    return any(re.fullmatch(pattern, text.strip()) for text in wrote)


_PATTERNS = {"hex": "[0-9A-Fa-f]+", "number": "[0-9]+", "any": ".*", "space": r"\s+"}
