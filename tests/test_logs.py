"""What a log line looks like, whoever wrote it, and what never gets into one."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import pty
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from asynctls import logs
from asynctls.alerts import Alert
from asynctls.config import Address, SecretText
from asynctls.errors import ConfigError, Fault, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers = root.handlers[:]
    show = warnings.showwarning
    yield
    logging.captureWarnings(capture=False)
    warnings.showwarning = show
    root.handlers[:] = handlers
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def as_json(**values: object) -> dict[str, object]:
    stream = io.StringIO()
    logs.configure("json", stream=stream)
    structlog.get_logger().info("an event", **values)
    loaded: dict[str, object] = json.loads(stream.getvalue())
    return loaded


def as_text(event: str = "an event", **values: object) -> str:
    stream = io.StringIO()
    logs.configure("console", stream=stream)
    structlog.get_logger().info(event, **values)
    return stream.getvalue()


def test_a_json_line_has_its_keys_in_a_stable_order() -> None:
    keys = list(as_json(zebra=1, address="a", role="r"))
    assert keys == ["timestamp", "level", "event", "address", "role", "zebra"]


def test_a_json_line_tells_the_time_in_utc() -> None:
    line = as_json()
    assert line["level"] == "info"
    assert line["event"] == "an event"
    assert str(line["timestamp"]).endswith("Z")
    told = datetime.fromisoformat(str(line["timestamp"]))
    assert abs((datetime.now(UTC) - told).total_seconds()) < 60


def test_values_of_all_kinds_become_json() -> None:
    line = as_json(
        address=Address("::1", 1),
        alert=Alert.UNKNOWN_CA,
        at=datetime(2026, 1, 2, tzinfo=UTC),
        path=Path("/x"),
        names=("a", "b"),
        held={"b", "a"},
        serial=2**150,
    )
    assert line["address"] == "[::1]:1"
    assert line["alert"] == 48
    assert line["at"] == "2026-01-02T00:00:00+00:00"
    assert line["path"] == "/x"
    assert line["names"] == line["held"] == ["a", "b"]
    assert line["serial"] == 2**150


def test_a_secret_is_hidden_in_both_forms() -> None:
    secret = SecretText("hunter2")
    assert "hunter2" not in json.dumps(as_json(join=secret, many=[secret]))
    assert "hunter2" not in as_text(join=secret, many=[secret])


def test_an_error_is_one_line_without_a_traceback() -> None:
    line = as_json(error=ConfigError(Fault("a", "b", "c"), Fault("d", "e", "f")))
    assert line["error"] == "a (b): c; d (e): f"
    assert as_json(error=OSError("broken"))["error"] == "OSError: broken"
    assert as_json(error=TimeoutError())["error"] == "TimeoutError"
    assert as_json(reason=StateError("full"))["reason"] == "full"


def test_a_traceback_is_there_when_it_is_asked_for() -> None:
    stream = io.StringIO()
    logs.configure("json", stream=stream)
    try:
        dict[str, int]()["k"]
    except KeyError as error:
        structlog.get_logger().exception("failed")
        structlog.get_logger().error("failed", exc_info=error)
    for text in stream.getvalue().splitlines():
        line = json.loads(text)
        assert line["error"] == "KeyError: 'k'"
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert '["k"]' in line["exception"]
        assert line["level"] == "error"


def test_asking_for_a_traceback_where_none_is_does_no_harm() -> None:
    assert "exception" not in as_json(exc_info=True)
    assert "exception" not in as_json(exc_info=False)


def test_a_console_line_is_for_people() -> None:
    line = as_text("listening", address=Address("127.0.0.1", 1), reason="two words", none=None)
    assert line.endswith("address=127.0.0.1:1 none=None reason='two words'\n")
    assert " info     listening  " in line
    assert "names=a,b" in as_text(names=("a", "b"))
    assert "empty=''" in as_text(empty="")


def test_no_value_can_begin_a_line_or_move_a_terminal_s_cursor() -> None:
    hostile = "a\nlevel=error\x1b[2J\u202e\x9b\u2028"
    for line in (as_text(hostile), as_text(peer=hostile), as_text(many=[hostile])):
        assert line[:-1].isprintable()
        assert line.endswith("\n")
    try:
        Alert[hostile]
    except KeyError as error:
        text = as_text(exc_info=error)
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.splitlines()[1] == "  Traceback (most recent call last):"
    assert "\n" not in json.dumps(as_json(peer=hostile))


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    logs.configure("auto", stream=terminal)
    structlog.get_logger().info("seen", key="value")
    assert "\x1b[32minfo" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    logs.configure("console", stream=terminal)
    structlog.get_logger().info("seen", key="value")
    assert "\x1b" not in terminal.getvalue()
    assert "key=value" in terminal.getvalue()
    assert "\x1b" not in as_text()


def test_auto_is_json_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    structlog.get_logger().info("seen")
    assert json.loads(stream.getvalue())["event"] == "seen"


def test_less_than_the_level_is_not_logged() -> None:
    stream = io.StringIO()
    logs.configure("json", stream=stream, level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_what_is_bound_to_the_context_is_in_every_line() -> None:
    with structlog.contextvars.bound_contextvars(address="a:1"):
        assert as_json()["address"] == "a:1"


def test_a_log_that_cannot_be_written_is_lost_and_nothing_more() -> None:
    stream = io.StringIO()
    logs.configure("json", stream=stream)
    stream.close()
    structlog.get_logger().info("lost")
    if not Path("/dev/full").exists():
        return
    with Path("/dev/full").open("w") as full:
        logs.configure("json", stream=full)
        structlog.get_logger().info("lost")
        with pytest.raises(OSError, match="No space"):
            full.close()


def test_the_standard_library_s_logging_comes_the_same_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # pytest's own handlers do not bear a record that cannot be formatted.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    stream = io.StringIO()
    logs.configure("json", stream=io.StringIO())
    logs.configure("json", stream=stream)
    logging.getLogger("other").info("too little")
    logging.getLogger("other").warning("%s things\nand more", 2)
    logging.getLogger("other").warning("%d", "no number")
    logging.getLogger("other").log(35, "between")
    try:
        Path("/no/such/file").read_bytes()
    except OSError:
        logging.getLogger("other").exception("failed")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["2 things", "%d", "between", "failed"]
    assert lines[0]["logger"] == "other"
    assert lines[0]["details"] == "and more"
    assert lines[0]["level"] == "warning"
    assert lines[2]["level"] == "error"
    assert lines[3]["error"].startswith("FileNotFoundError: [Errno 2]")


def test_a_warning_comes_the_same_way() -> None:
    stream = io.StringIO()
    logs.configure("json", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    line = json.loads(stream.getvalue())
    assert "old ways" in line["event"]
    assert line["logger"] == "py.warnings"


async def test_a_lost_task_s_exception_is_one_formatted_line() -> None:
    stream = io.StringIO()
    logs.configure("json", stream=stream)

    async def fail() -> None:
        raise OSError("nobody awaits me")

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert line["event"] == "Task exception was never retrieved"
    assert line["error"] == "OSError: nobody awaits me"
    assert line["logger"] == "asyncio"


SAY = (
    "import structlog; from asynctls import logs\n"
    "logs.configure(); structlog.get_logger().info('said', key='value')\n"
)


def test_logs_go_to_standard_error() -> None:
    done = subprocess.run([sys.executable, "-c", SAY], check=True, capture_output=True, text=True)
    assert done.stdout == ""
    assert json.loads(done.stderr)["event"] == "said"


def test_a_process_without_standard_error_lives_on() -> None:
    subprocess.run(["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, SAY], check=True)


def test_a_real_terminal_gets_colours() -> None:
    ours, theirs = pty.openpty()
    environ = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    subprocess.run([sys.executable, "-c", SAY], check=True, stderr=theirs, env=environ)
    text = os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)
    assert "\x1b[1msaid" in text
    assert "key\x1b[0m=value" in text


def test_what_was_told_in_another_way_is_not_logged_and_the_level_still_counts() -> None:
    stream = io.StringIO()
    shown: list[str] = []

    def tell(event: Mapping[str, object]) -> bool:
        shown.append(str(event["event"]))
        return event["event"] == "a step"

    logs.configure("json", stream=stream, tell=tell)
    log = structlog.get_logger()
    log.debug("a step")
    log.info("a step", n=1)
    log.debug("a detail")
    log.info("an event")
    assert shown == ["a step", "a step", "a detail", "an event"]
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "an event"
