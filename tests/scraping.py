"""A daemon's metrics as a scraper reads them."""

from __future__ import annotations

import asyncio
import shutil
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from asynctls.config import Address
from tests.given import on_stdin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Scrape", "ask", "promtool", "scrape"]


class Scrape:
    """The samples of one answer, by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """The one sample of that name whose labels are, or include, these."""
        (value,) = self.values(name, **labels).values()
        return value

    def values(self, name: str, **labels: str) -> Mapping[tuple[str, ...], float]:
        """All of that name that have these labels; keys are the values of the other labels."""
        found = {
            tuple(text for label, text in sorted(sample.labels.items()) if label not in labels):
                sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }  # fmt: skip
        return MappingProxyType(found)


async def ask(
    address: Address | str, target: str = "/metrics", method: str = "GET"
) -> tuple[str, str]:
    """Head and body of an answer over plain HTTP."""
    where = address if isinstance(address, Address) else Address.parse(address)
    reader, writer = await asyncio.open_connection(where.host, where.port)
    try:
        writer.write(
            f"{method} {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode()
        )
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        return head, body
    finally:
        writer.close()
        await writer.wait_closed()


async def scrape(address: Address | str) -> Scrape:
    """What is to be read there now."""
    head, body = await ask(address)
    assert head.startswith("HTTP/1.1 200 "), head
    return Scrape(body)


async def promtool(*words: str | Path, given: str = "") -> tuple[int, str]:
    """What ``promtool check …`` says of files, or of ``given``; the test is skipped without it.

    It is no part of 'make peers': its package brings a Prometheus that starts by itself.
    """
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (in Debian it is in the package 'prometheus')")
    with on_stdin(given.encode()) as stdin:
        checking = await asyncio.create_subprocess_exec(
            *(program, "check", *words),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await checking.communicate()
    assert checking.returncode is not None
    return checking.returncode, told.decode()
