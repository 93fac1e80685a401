"""The page of costs in a real browser: on a phone, on a desk, in the dark, on paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, reduce
from pathlib import Path
from typing import Any

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from msgspec.structs import replace
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from asynctls.costs.export import to_json
from asynctls.costs.page import page
from asynctls.costs.report import Handshake, Report
from asynctls.costs.words import number_words

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1440, "height": 900}
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Program = Callable[[str], Path]
Visit = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[[Path], Browser]]:
    """Starts one browser for all of these tests, at the first that needs it."""
    with ExitStack() as stack:

        @cache
        def started(executable: Path) -> Browser:
            playwright = stack.enter_context(sync_playwright())
            return stack.enter_context(
                playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
            )

        yield started


@pytest.fixture
def visit(
    report: Report, program: Program, start: Callable[[Path], Browser], tmp_path: Path
) -> Visit:
    """``with visit(viewport=…, shown=report) as seen``: the page of a report, opened as a file."""
    browser = start(program("chromium"))

    @contextmanager
    def visiting(*, shown: Report = report, **options: Any) -> Iterator[Page]:
        file = tmp_path / "costs.html"
        file.write_text(page(shown), encoding="utf-8")
        with browser.new_context(**options) as context:
            seen = context.new_page()
            said: list[str] = []
            asked: list[str] = []
            seen.on("console", lambda message: said.append(message.text))
            seen.on("pageerror", lambda error: said.append(str(error)))
            seen.on("request", lambda request: asked.append(request.url))
            seen.goto(file.as_uri())
            yield seen
            assert said == []
            assert asked == [file.as_uri()]

    return visiting


def open_all(seen: Page) -> None:
    seen.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")


def arrow(seen: Page, name: str) -> Locator:
    """The arrow of that name in the session, the last of the ladder."""
    return seen.locator(".conversation").last.locator(".arrow").filter(has_text=name).first


def test_every_figure_is_the_jsons(report: Report, visit: Visit) -> None:
    json = msgspec.json.decode(to_json(report))
    with visit() as seen:
        shown = dict(
            seen.eval_on_selector_all(
                "data", "all => all.map(each => [each.dataset.of, [each.value, each.textContent]])"
            )
        )
    for place, (value, words) in shown.items():
        there = reduce(
            lambda found, step: found[int(step) if isinstance(found, list) else step],
            place.split("."),
            json,
        )
        assert value == msgspec.json.encode(there).decode(), place
        if place.rpartition(".")[2] in {"octets", "records", "round_trips"}:
            assert words == number_words(there), place
    for at in range(len(report.conversations)):
        assert f"conversations.{at}.octets" in shown
    for name in (each.name for each in report.operations):
        assert f"{name}.seconds" in shown
    for at in range(len(report.conversations[0].messages)):
        assert f"conversations.0.messages.{at}.octets" in shown


def test_the_whole_exchange_is_there_with_each_message_as_it_was_sent(
    report: Report, visit: Visit
) -> None:
    story = report.conversations[0]
    joining = [
        each
        for each in report.conversations
        if each.kind in {"bootstrap", "enrolment"} and each.key_type == story.key_type
    ]
    with visit() as seen:
        titles = seen.locator(".conversation h3").all_text_contents()
        arrows = seen.locator(".arrow")
        told = [each for conversation in (*joining, story) for each in conversation.messages]
        assert titles == [each.title for each in (*joining, story)]
        assert arrows.count() == len(told)
        assert arrows.locator("summary .lock").count() == sum(each.encrypted for each in told)
        lifelines = {"client": "Client", "ttp": "TTP", "server": "Server"}
        assert arrows.locator("summary .unseen").all_text_contents() == [
            f"{lifelines[each.sender]} to {lifelines[each.receiver]}" for each in told
        ]


def test_bars_are_as_long_as_their_bytes(report: Report, visit: Visit) -> None:
    full, resumed = (
        next(
            each.octets
            for each in report.conversations
            if (each.kind, each.key_type, each.handshake, each.sent_messages)
            == ("session", "rsa-2048", handshake, 1)
        )
        for handshake in Handshake
    )
    with visit() as seen:
        lengths = seen.eval_on_selector_all(
            "#handshakes svg > g",
            """bars => bars.map(bar => [...bar.querySelectorAll('rect')]
                .reduce((sum, part) => sum + part.width.baseVal.valueInSpecifiedUnits, 0))""",
        )
    assert lengths == pytest.approx([100, 100 * resumed / full], abs=0.01)


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_is_cut_off_and_no_words_lie_on_others(viewport: Any, visit: Visit) -> None:
    with visit(viewport=viewport) as seen:
        open_all(seen)
        assert seen.evaluate("document.documentElement.scrollWidth") == viewport["width"]
        assert seen.evaluate(OUTSIDE) == []
        assert seen.evaluate(OVERLAPPING) == []


OUTSIDE = """() => {
  const width = document.documentElement.clientWidth
  return [...document.querySelectorAll('main *:not(.unseen)')].filter(each => {
    const box = each.getBoundingClientRect()
    return box.right > width + 1 || box.left < -1
      || (each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX === 'hidden')
  }).map(each => each.outerHTML.slice(0, 200))
}"""

OVERLAPPING = """() => {
  const found = []
  const groups = '.arrow summary, .chart svg > g, .heads, .conversation > summary'
  for (const group of document.querySelectorAll(groups)) {
    const words = [...group.querySelectorAll(
      ':scope > :is(.name, .size, .when, h3, p, text), :scope.heads > span')]
    const boxes = words.map(each => each.getBoundingClientRect())
    boxes.forEach((one, at) => boxes.slice(at + 1).forEach(other => {
      if (one.left < other.right - 1 && other.left < one.right - 1
          && one.top < other.bottom - 1 && other.top < one.bottom - 1) found.push(group.textContent)
    }))
  }
  return found
}"""


@pytest.mark.parametrize(
    ("scheme", "viewport"), [("light", PHONE), ("dark", DESK)], ids=["light", "dark"]
)
def test_axe_finds_nothing_that_keeps_anybody_out(scheme: Any, viewport: Any, visit: Visit) -> None:
    with visit(color_scheme=scheme, viewport=viewport) as seen:
        open_all(seen)
        found = Axe().run(seen)
        assert found.violations_count == 0, found.generate_report()
        looked_at = {each["id"] for each in found.response["passes"]}
        assert {"color-contrast", "document-title", "html-has-lang"} <= looked_at


def test_dark_is_dark(visit: Visit) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with visit(color_scheme="light") as light, visit(color_scheme="dark") as dark:
        assert sum(rgb(light.evaluate(paper))) > 3 * 220
        assert sum(rgb(dark.evaluate(paper))) < 3 * 60


def rgb(color: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", color)[:3]]


def test_pointing_at_a_message_shows_its_fields_and_so_does_the_keyboard(visit: Visit) -> None:
    with visit(viewport=DESK) as seen:
        message = arrow(seen, "ServerKeyExchange")
        fields = message.get_by_text("X25519")
        assert not fields.is_visible()
        message.locator("summary").hover()
        assert fields.is_visible()
        seen.mouse.move(0, 0)
        assert not fields.is_visible()
        message.locator("summary").focus()
        assert fields.is_visible()
        seen.keyboard.press("Enter")
        seen.keyboard.press("Tab")
        assert fields.is_visible()


def test_a_tap_shows_the_fields_without_any_script(visit: Visit) -> None:
    with visit(viewport=PHONE, has_touch=True, java_script_enabled=False) as seen:
        message = arrow(seen, "ServerKeyExchange")
        fields = message.get_by_text("X25519")
        assert not fields.is_visible()
        message.locator("summary").tap()
        assert fields.is_visible()


def test_on_paper_all_is_open_and_light(visit: Visit) -> None:
    with visit(color_scheme="dark", viewport={"width": 690, "height": 980}) as seen:
        seen.emulate_media(media="print")
        for each in (seen.locator(".arrow .fields"), seen.locator(".arrow summary")):
            assert all(one.is_visible() for one in each.all())
        assert rgb(seen.evaluate("getComputedStyle(document.body).color")) < [60, 60, 60]
        assert seen.evaluate(OUTSIDE) == []
        assert seen.evaluate(OVERLAPPING) == []
        assert seen.pdf(format="A4").startswith(b"%PDF")


def test_a_hostile_name_is_nothing_but_text(report: Report, visit: Visit) -> None:
    hostile = "<script>document.title='mine'</script><img src=x onerror=\"document.title='mine'\">"
    card = replace(report.cards[0], title=hostile, lines={hostile: hostile})
    story = report.conversations[0]
    message = replace(story.messages[0], name=hostile, fields={hostile: hostile})
    hit = replace(
        report,
        machine=hostile,
        notes=(hostile,),
        cards=(card,),
        conversations=(
            replace(story, title=hostile, cipher=hostile, messages=(message, *story.messages[1:])),
            *report.conversations[1:],
        ),
    )
    with visit(shown=hit) as seen:
        assert seen.locator("script, img").count() == 0
        assert seen.title() != "mine"
        assert seen.locator("#certificates h3").text_content() == hostile
        assert seen.locator("#notes li").text_content() == hostile


def test_a_report_of_one_connection_has_a_page_without_comparisons(report: Report) -> None:
    alone = replace(report, conversations=report.conversations[:1], cards=())
    text = page(alone)
    assert text.count('<details class="conversation') == 1
    for name in ("key-types", "handshakes", "messages", "session", "enrolment"):
        assert f'id="{name}"' not in text
    assert 'id="certificates"' not in text
