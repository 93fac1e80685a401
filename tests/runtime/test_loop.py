"""Which loop runs, and how a command ends that is interrupted."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from asynctls.errors import ConfigError
from asynctls.runtime import run
from tests.remarks import without_remarks

Spawn = Callable[..., Any]


async def which() -> type[asyncio.AbstractEventLoop]:
    return type(asyncio.get_running_loop())


@pytest.mark.parametrize(("choice", "uv"), [("", True), ("uvloop", True), ("asyncio", False)])
def test_the_loop_is_uvloop_unless_the_other_is_forced(
    monkeypatch: pytest.MonkeyPatch, choice: str, uv: object
) -> None:
    monkeypatch.setenv("ASYNCTLS_LOOP", choice)
    assert issubclass(run(which()), uvloop.Loop) is uv


def test_without_uvloop_the_standard_loop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.delenv("ASYNCTLS_LOOP", raising=False)
    assert not issubclass(run(which()), uvloop.Loop)
    monkeypatch.setenv("ASYNCTLS_LOOP", "uvloop")
    with pytest.raises(ConfigError, match=r"loop \(ASYNCTLS_LOOP\): uvloop is not installed"):
        run(which())


def test_a_loop_that_does_not_exist_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCTLS_LOOP", "trio")
    with pytest.raises(ConfigError, match="'trio' is neither asyncio nor uvloop"):
        run(which())


def test_what_the_coroutine_raises_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        run(fail())


WAIT = """
import asyncio
from asynctls.runtime import run
async def main():
    print("ready", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaned up", flush=True)
run(main())
"""


def test_an_interrupted_command_cleans_up_and_exits_130_without_a_traceback(spawn: Spawn) -> None:
    process = spawn(WAIT)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (out, without_remarks(err), process.returncode) == ("cleaned up\n", "", 130)


LOSE = """
import asyncio, gc, sys
from asynctls import logs
from asynctls.runtime import run
async def main():
    loop = asyncio.get_running_loop()
    def boom():
        raise ValueError("in a callback")
    for _ in range(100):
        loop.call_soon(boom)
    loop.call_exception_handler({"message": "no resource", "exception": OSError(24, "too many")})
    loop.call_exception_handler({"message": "odd"})
    done = asyncio.Event()
    loop.call_soon(done.set)
    await done.wait()
logs.configure("json")
run(main())
"""


def test_what_nobody_could_catch_is_logged_once_in_a_while(spawn: Spawn) -> None:
    process = spawn(LOSE)
    _out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    lines = [json.loads(line) for line in without_remarks(err).splitlines()]
    assert [line["event"] for line in lines] == ["event loop"] * 3
    by_message = {line["message"]: line for line in lines}
    assert by_message["no resource"]["error"] == "OSError: [Errno 24] too many"
    assert "exception" not in by_message["no resource"]
    assert "error" not in by_message["odd"]
    (callback,) = (line for line in lines if line.get("error") == "ValueError: in a callback")
    assert "Traceback" in callback["exception"]


COMMAND = """
import gc, sys
from asynctls import logs
from asynctls.runtime import run
async def main():
    assert gc.isenabled() and gc.get_freeze_count() > 10_000
    assert "structlog" in sys.modules
gc.disable()
logs.configure("json")
assert "structlog" not in sys.modules
run(main())
"""


@pytest.mark.one_loop
def test_a_command_s_loop_is_held_up_by_no_import_and_goes_through_none_for_garbage(
    spawn: Spawn,
) -> None:
    process = spawn(COMMAND)
    _out, err = process.communicate(timeout=20)
    assert (process.returncode, without_remarks(err)) == (0, "")
