"""Ctrl-C at any moment, and a closed terminal, leave no process behind."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.one_loop

INTERRUPTED, STOPPED = 130, 1
MOMENTS = [
    "CA certificate made",
    "TTP     listens on",
    "Server  made its",
    "Client  asks the TTP",
    "Message received",
]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_ctrl_c_reaches_the_whole_group_and_ends_it(
    demo: Any, tmp_path: Path, moment: str
) -> None:
    run = await demo(tmp_path / "state")
    await run.told(moment)
    os.killpg(run.process.pid, signal.SIGINT)
    assert await run.ended() == (INTERRUPTED, "")
    assert "Traceback" not in "\n".join(run.lines)
    assert not run.has_left_something


async def test_ctrl_c_before_the_first_step_leaves_nothing(demo: Any, tmp_path: Path) -> None:
    run = await demo(tmp_path / "state")
    os.killpg(run.process.pid, signal.SIGINT)
    code, said = await run.ended()
    # Python itself may not be up yet, and then dies of the signal; or it fails with 1 in the first
    # hundredths of a second, before a line of ours runs.
    of_python_alone = code == 1 and "<frozen " in said and "/asynctls/" not in said
    assert code in (INTERRUPTED, -signal.SIGINT) or of_python_alone, said
    assert not run.has_left_something


@pytest.mark.parametrize("moment", MOMENTS[1:4:2])
async def test_a_signal_to_the_demo_alone_ends_the_others_too(
    demo: Any, tmp_path: Path, moment: str
) -> None:
    run = await demo(tmp_path / "state")
    await run.told(moment)
    run.process.send_signal(signal.SIGINT)
    assert await run.ended() == (INTERRUPTED, "")
    assert not run.has_left_something


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_so_do_the_signals_of_a_service_manager_and_a_closed_terminal(
    demo: Any, tmp_path: Path, number: signal.Signals
) -> None:
    run = await demo(tmp_path / "state")
    await run.told("Server  listens on")
    run.process.send_signal(number)
    assert await run.ended() == (STOPPED, f"asynctls: stopped by {number.name}\n")
    assert not run.has_left_something


async def test_a_second_ctrl_c_while_it_stops_leaves_nothing_either(
    demo: Any, tmp_path: Path
) -> None:
    run = await demo(tmp_path / "state")
    await run.told("Server  listens on")
    for _ in range(2):
        os.killpg(run.process.pid, signal.SIGINT)
    code, _ = await run.ended()
    assert code == INTERRUPTED
    assert not run.has_left_something
