"""What a benchmark asks of the load, the load can do: a full run is too long for the tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench import enrolments, load

pytestmark = pytest.mark.one_loop


def test_every_job_that_is_asked_for_can_be_done() -> None:
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("[!t]*.py"))
    asked = set(re.findall(r'\bjob\(\s*"(\w+)"', source))
    assert {"handshakes", "round_trips", "enrol"} <= asked
    can = {*dir(load.Load), *dir(enrolments.Load)}
    assert asked <= can
