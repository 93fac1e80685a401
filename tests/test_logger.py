"""What a program sees of our log that uses the library: its own set-up, or warnings alone."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import structlog, sys
from asynctls.logger import get_logger
log = get_logger()
{}
log.info("listening", port=1)
log.bind(peer="x").warning("refused")
structlog.get_logger().info("the program's own")
"""


@pytest.mark.parametrize(
    ("set_up", "out", "err"),
    [
        ("", ["the program's own"], ["refused"]),
        (
            "structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))",
            [],
            ["listening", "refused", "the program's own"],
        ),
        (
            "structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))",
            [],
            [],
        ),
        (
            "from asynctls import logs; logs.configure('json')",
            [],
            ["listening", "refused", "the program's own"],
        ),
    ],
)
def test_a_library_logs_as_its_program_says_and_else_keeps_quiet(
    set_up: str, out: list[str], err: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(set_up)],
        capture_output=True,
        text=True,
        check=True,
    )
    for text, events in ((done.stdout, out), (done.stderr, err)):
        lines = text.splitlines()
        assert len(lines) == len(events)
        for line, event in zip(lines, events, strict=True):
            assert event in line


def ended(program: str, *, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )


def test_a_command_imports_structlog_for_its_first_event_and_rich_never() -> None:
    done = ended(
        "import sys; from asynctls import logger, logs\n"
        "logs.configure('json')\n"
        "assert 'structlog' not in sys.modules\n"
        "logger.get_logger().info('said')\n"
        "assert 'structlog' in sys.modules and 'rich' not in sys.modules\n"
        "import rich\n"
    )
    assert '"event": "said"' in done.stderr


def test_an_app_finds_structlog_as_it_comes_and_set_up(tmp_path: Path) -> None:
    (tmp_path / "its.py").write_text(
        "import structlog, sys\n"
        "structlog.get_logger().info('imported')\n"
        "assert 'rich' in sys.modules\n"
        "async def app(session): ...\n"
    )
    done = ended(
        "from asynctls import logs; from asynctls.server.importing import import_app\n"
        "logs.configure('json'); import_app('its:app')\n",
        folder=tmp_path,
    )
    assert done.stdout == ""
    assert '"event": "imported"' in done.stderr


@pytest.mark.parametrize(
    ("set_up", "debug", "info"),
    [
        ("", False, False),
        ("logs.configure('json')", False, True),
        ("logs.configure('json', level='warning')", False, False),
        ("logs.configure('json', level='debug')", True, True),
        ("logs.configure('json', tell=lambda event: False)", True, True),
        (
            "structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))",
            False,
            True,
        ),
        # These cannot be asked.
        ("structlog.configure(wrapper_class=structlog.BoundLogger)", True, True),
        ("structlog.configure(wrapper_class=structlog.stdlib.BoundLogger)", True, True),
    ],
)
def test_what_nobody_reads_need_not_be_found_out(set_up: str, *, debug: bool, info: bool) -> None:
    done = ended(
        f"import structlog; from asynctls import logger, logs\n{set_up}\n"
        "print(*(logger.logger_for(level) is not None for level in (10, 20)))\n"
    )
    assert (done.stdout, done.stderr) == (f"{debug} {info}\n", "")
