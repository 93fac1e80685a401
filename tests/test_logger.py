"""What a program sees of our log that uses the library: its own set-up, or warnings alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
