"""The page of costs in a real browser: on a phone, on a desk, in the dark, on paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from msgspec.structs import replace
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from asynctls.costs.export import to_json
from asynctls.costs.page import page
from asynctls.costs.report import Conversation, Handshake, Report
from asynctls.words import number_words

# A browser takes its time where many tests share two processors.
pytestmark = pytest.mark.timeout(180)

PHONE, DESK = 360, 1440
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
Scheme = Literal["light", "dark"]
Visit = Callable[..., Page]


@dataclass(frozen=True)
class Window:
    """A page that is open, what the browser said of it and what it asked for."""

    page: Page
    said: list[str]
    asked: list[str]


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Window]]:
    """One browser, and one window of each kind, for all of these tests: a start takes seconds."""
    with ExitStack() as stack:

        @cache
        def browser(executable: Path) -> Browser:
            playwright = stack.enter_context(sync_playwright())
            return stack.enter_context(
                playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
            )

        @cache
        def opened(executable: Path, text: str, width: int, scheme: Scheme, script: bool) -> Window:  # noqa: FBT001
            file = tmp_path_factory.mktemp("page") / "costs.html"
            file.write_text(text, encoding="utf-8")
            context = browser(executable).new_context(
                viewport={"width": width, "height": 900},
                color_scheme=scheme,
                java_script_enabled=script,
                has_touch=width == PHONE,
            )
            shown = Window(context.new_page(), [], [])
            shown.page.on("console", lambda message: shown.said.append(message.text))
            shown.page.on("pageerror", lambda error: shown.said.append(str(error)))
            shown.page.on("request", lambda request: shown.asked.append(request.url))
            shown.page.goto(file.as_uri())
            return shown

        yield opened


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return page(report)


@pytest.fixture(scope="module")
def brief(report: Report) -> str:
    """All that is different on the page, once: to look at each element's colours takes long."""
    first = {(each.kind, each.key_type): each for each in reversed(report.conversations)}
    shown = [first[kind, "rsa-2048"] for kind in ("session", "tls", "enrolment")]
    return page(replace(report, conversations=tuple(map(one_message_of_each_group, shown))))


def one_message_of_each_group(told: Conversation) -> Conversation:
    of_group = {each.group: each for each in reversed(told.messages)}
    return replace(
        told, messages=tuple(each for each in told.messages if each in of_group.values())
    )


@pytest.fixture
def visit(program: Program, text: str, window: Callable[..., Window]) -> Iterator[Visit]:
    """``visit(width=…, scheme=…, script=…)``: the report's page in a window, all folded."""
    visited: list[Window] = []

    def visiting(
        text: str = text, *, width: int = DESK, scheme: Scheme = "light", script: bool = True
    ) -> Page:
        shown: Window = window(program("chromium"), text, width, scheme, script)
        visited.append(shown)
        if script:
            shown.page.evaluate(f"{ARROWS}.forEach(each => each.open = false)")
        return shown.page

    yield visiting
    for each in visited:
        assert each.said == []
        assert len(each.asked) == 1
        assert each.asked[0].startswith("file:")


ARROWS = "document.querySelectorAll('.arrow')"


def unfold(seen: Page) -> None:
    seen.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")


def arrow(seen: Page, name: str) -> Locator:
    """The arrow of that name in the session, the last of the ladder."""
    return seen.locator(".conversation").last.locator(".arrow").filter(has_text=name).first


def test_every_figure_is_the_jsons(report: Report, visit: Visit) -> None:
    json = msgspec.json.decode(to_json(report))
    shown = dict(
        visit().eval_on_selector_all(
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
    told = [each for conversation in (*joining, story) for each in conversation.messages]
    lifelines = {"client": "Client", "ttp": "TTP", "server": "Server"}
    seen = visit()
    assert seen.locator(".conversation h3").all_text_contents() == [
        each.title for each in (*joining, story)
    ]
    assert seen.locator(".arrow summary .lock").count() == sum(each.encrypted for each in told)
    assert seen.locator(".arrow summary .unseen").all_text_contents() == [
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
    lengths = visit().eval_on_selector_all(
        "#handshakes svg > g",
        """bars => bars.map(bar => [...bar.querySelectorAll('rect')]
            .reduce((sum, part) => sum + part.width.baseVal.valueInSpecifiedUnits, 0))""",
    )
    assert lengths == pytest.approx([100, 100 * resumed / full], abs=0.01)


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_is_cut_off_and_no_words_lie_on_others(width: int, visit: Visit) -> None:
    seen = visit(width=width)
    unfold(seen)
    assert seen.evaluate("document.documentElement.scrollWidth") == width
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


@pytest.mark.parametrize(("scheme", "width"), [("light", PHONE), ("dark", DESK)])
def test_axe_finds_nothing_that_keeps_anybody_out(scheme: Scheme, width: int, visit: Visit) -> None:
    seen = visit(scheme=scheme, width=width)
    unfold(seen)
    found = Axe().run(seen, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()
    looked_at = {each["id"] for each in found.response["passes"]}
    assert {"color-contrast", "document-title", "html-has-lang"} <= looked_at


def test_the_page_is_as_dark_as_its_reader_wants_it(brief: str, visit: Visit) -> None:
    light, dark = (
        lightness(visit(brief, scheme=scheme, width=width).evaluate(PAPER))
        for scheme, width in (("light", PHONE), ("dark", DESK))
    )
    assert light > 220
    assert dark < 60


PAPER = "getComputedStyle(document.body).backgroundColor"


def lightness(color: str) -> float:
    """Of a color like `rgb(1, 2, 3)`: the mean, up to 255."""
    return sum(map(int, re.findall(r"\d+", color)[:3])) / 3


def test_pointing_at_a_message_shows_its_fields_and_so_does_the_keyboard(visit: Visit) -> None:
    seen = visit()
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
    seen = visit(width=PHONE, script=False)
    message = arrow(seen, "ServerKeyExchange")
    fields = message.get_by_text("X25519")
    assert not fields.is_visible()
    message.locator("summary").tap()
    assert fields.is_visible()


def test_on_paper_all_is_open_and_light(brief: str, visit: Visit) -> None:
    seen = visit(brief, scheme="dark")
    seen.emulate_media(media="print")
    try:
        shut = "all => all.filter(each => !each.checkVisibility()).length"
        assert seen.eval_on_selector_all(".arrow .fields, .arrow summary", shut) == 0
        assert lightness(seen.evaluate(PAPER)) == 255
        assert seen.evaluate(OVERLAPPING) == []
        assert seen.pdf(format="A4").startswith(b"%PDF")
    finally:
        seen.emulate_media(media="screen")


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
    seen = visit(page(hit))
    assert seen.locator("script, img").count() == 0
    assert seen.title() != "mine"
    assert seen.locator("#certificates h3").text_content() == hostile
    assert seen.locator("#notes li").text_content() == hostile


def test_a_report_of_one_connection_has_a_page_without_comparisons(report: Report) -> None:
    alone = replace(report, conversations=report.conversations[:1], cards=())
    text = page(alone)
    assert text.count('<details class="conversation') == 1
    assert '<span class="ttp">' not in text
    for name in ("key-types", "handshakes", "messages", "session", "enrolment"):
        assert f'id="{name}"' not in text
    assert 'id="certificates"' not in text
