"""The page of `asynctls costs --html`: one HTML document that needs nothing but itself.

It has no script, loads nothing, and says so in its Content-Security-Policy. Every figure that
`--json` has is an HTML `data` element: its value is exactly what stands there at `data-of`.
"""

from __future__ import annotations

import base64
import hashlib
from functools import reduce
from importlib import resources
from typing import TYPE_CHECKING

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from asynctls.costs.byte_charts import SERIES, byte_charts
from asynctls.costs.export import to_json
from asynctls.costs.purposes import purpose_of
from asynctls.costs.report import Group
from asynctls.costs.time_charts import time_charts
from asynctls.costs.words import GROUP_WORDS
from asynctls.words import key_words, number_words, share_words, time_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asynctls.costs.report import Report

__all__ = ["page"]

_LIFELINES = {"client": "Client", "ttp": "TTP", "server": "Server"}


def page(report: Report) -> str:
    """The report as one self-contained HTML document."""
    style = resources.files("asynctls.costs").joinpath("templates", "page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    story = report.conversations[0]
    runs = list(enumerate(report.conversations))
    exchange = [
        (at, run)
        for at, run in runs
        if run is story or (run.joins and run.key_type == story.key_type)
    ]
    present = {message.sender for _, run in exchange for message in run.messages}
    return (
        _environment(report)
        .get_template("page.html")
        .render(
            report=report,
            style=Markup(style),  # noqa: S704 (a file of ours)
            policy=f"default-src 'none'; style-src 'sha256-{digest}'",
            story=story,
            runs=runs,
            exchange=sorted(exchange, key=lambda each: each[1] is story),
            present=[each for each in _LIFELINES if each in present],
            groups=[group for group in Group if any(group in run.groups for _, run in exchange)],
            byte_charts=byte_charts(report),
            time_charts=list(time_charts(report)),
        )
    )


def _environment(report: Report) -> Environment:
    environment = Environment(
        loader=PackageLoader("asynctls.costs"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        figure=_figures(report), group_words=GROUP_WORDS, lifelines=_LIFELINES, series=SERIES
    )
    environment.filters.update(key=key_words, purpose=purpose_of, share=share_words)
    return environment


def _figures(report: Report) -> Callable[[str], Markup]:
    """A function that shows what the JSON has at a place, in its unit."""
    figures: object = msgspec.json.decode(to_json(report))

    def figure(place: str) -> Markup:
        steps = place.split(".")
        value = msgspec.convert(reduce(_step, steps, figures), int | float)
        words = _WORDS.get(steps[-1], number_words)(value)
        exact = msgspec.json.encode(value).decode()
        return Markup('<data value="{}" data-of="{}">{}</data>').format(exact, place, words)

    return figure


def _step(within: object, step: str) -> object:
    match within:
        case list():
            return within[int(step)]
        case dict():
            return within[step]
    raise LookupError(step)


def _microseconds_words(microseconds: float) -> str:
    return time_words(microseconds / 1e6)


_WORDS: Mapping[str, Callable[[float], str]] = {
    "at_us": _microseconds_words,
    "duration_us": _microseconds_words,
    "overhead": share_words,
    "seconds": time_words,
}
