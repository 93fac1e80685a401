"""The guides, run: what they tell a reader to do works, and prints what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import LogWatch


@dataclass(frozen=True, slots=True)
class Guide:
    """A guide that is run.

    Attributes:
        page: the document.
        ports: those in it, beside 8440 and 8443, for which others are taken.
        instead: what else is written for what stands there.
    """

    page: Path
    ports: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.page.stem


RUN = (Guide(ROOT / "README.md", ports=("8444",)),)


# Many processes, one after the other.
@pytest.mark.timeout(180)
@pytest.mark.parametrize("guide", RUN, ids=str)
async def test_a_guide_does_what_it_says(
    guide: Guide, tmp_path: Path, logged: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "reader"
    async with Reader(folder, logged, ports=guide.ports, instead=guide.instead) as reader:
        monkeypatch.chdir(folder)
        for block in blocks(guide.page):
            if block.not_run is None:
                await reader.read(block)
