"""docs/guide/monitoring.md: the metrics that it names exist, and Prometheus takes its files."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import generate_latest

from asynctls.enrolment.keeper import Keeper
from asynctls.enrolment.metrics import IdentityMetrics
from asynctls.keeping import OnRenew
from asynctls.runtime.metrics import new_registry
from asynctls.runtime.session_metrics import ConnectionMetrics
from asynctls.runtime.supervisor import Supervisor
from asynctls.runtime.worker_metrics import WithWorkers
from asynctls.ttp.metrics import TTPMetrics
from tests.docs.pages import GUIDES, blocks
from tests.scraping import promtool

if TYPE_CHECKING:
    from pathlib import Path

GUIDE = (GUIDES / "monitoring.md").read_text()
SUFFIXES = re.compile(r"_(total|bucket|count|sum)$")


async def test_every_metric_that_the_guide_names_is_there_and_every_one_is_named(
    ttp: Any, joined: Any
) -> None:
    async with Keeper(await joined("server"), crl_interval=timedelta(seconds=60)) as keeper:
        role = new_registry("server")
        ConnectionMetrics(role)
        role.register(IdentityMetrics(keeper))
        OnRenew("true", keeper.identity.folder).count_in(role)
        none = Supervisor((), count=2, reserved=(), config=b"", on_wanted=keeper.refresh_soon)
        WithWorkers(role, none)
        text = generate_latest(role).decode()
        metrics = TTPMetrics(ttp.authority)
        text += (await asyncio.to_thread(generate_latest, metrics._registry)).decode()
    there = set(re.findall(r"^# TYPE (asynctls_\w+) ", text, re.MULTILINE))
    named = set(re.findall(r"\basynctls_\w+", GUIDE))
    plain = {SUFFIXES.sub("", name) for name in there}
    assert {SUFFIXES.sub("", name) for name in named} == plain


@pytest.mark.parametrize(
    ("name", "kind"), [("asynctls.rules.yml", "rules"), ("prometheus.yml", "config")]
)
async def test_promtool_takes_the_guides_files(name: str, kind: str, tmp_path: Path) -> None:
    (block,) = (each for each in blocks(GUIDES / "monitoring.md") if each.file == name)
    (tmp_path / name).write_text(block.text)
    code, told = await promtool(kind, tmp_path / name)
    assert code == 0, told
