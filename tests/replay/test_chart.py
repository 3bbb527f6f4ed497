"""The chart: one file that loads nothing and says what the figures say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.errors import BadInput
from hark.replay.chart import chart, write_chart
from hark.replay.figures import Figures, Spread
from hark.replay.policy import parse_policy

NOW = Figures(
    policy=parse_policy("immediate"),
    events=59_835,
    recipients=1_862,
    messages=59_835,
    user_days=18_111,
    per_user_day=Spread(1, 30, 106),
    wait=Spread(timedelta(0), timedelta(0), timedelta(0)),
    biggest_batch=1,
)
LATER = Figures(
    policy=parse_policy("cooldown=4m"),
    events=59_835,
    recipients=1_862,
    messages=46_297,
    user_days=18_107,
    per_user_day=Spread(1, 17, 41),
    wait=Spread(timedelta(minutes=4), timedelta(seconds=1521), timedelta(seconds=3712)),
    biggest_batch=65,
)


class Page(HTMLParser):
    """What is on a page: its texts, its elements, and whatever would be loaded."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())

    def percents(self) -> Iterator[float]:
        for tag, attributes in self.elements:
            for name in ("x", "x1", "x2", "cx", "width"):
                value = attributes.get(name) or ""
                if tag in ("svg", "line", "circle", "rect", "text") and value.endswith("%"):
                    yield float(value[:-1])


def test_the_chart_says_every_figure() -> None:
    texts = Page(chart([NOW, LATER], source="college.txt")).texts
    assert "What if: college.txt" in texts
    for figure in ("cooldown=4m", "59,835", "46,297", "17", "41", "4m", "25m 21s", "1h 1m", "65"):
        assert figure in texts
    assert "46,297, 77% of the events" in texts
    assert "4m · 25m 21s · 1h 1m" in texts


def test_every_drawing_is_told_to_those_who_cannot_see_it() -> None:
    drawings = [attributes for tag, attributes in Page(chart([NOW, LATER])).elements if tag == "svg"]
    told = [attributes["aria-label"] for attributes in drawings if attributes.get("role") == "img"]
    assert len(told) == 3 * 2
    assert "cooldown=4m: 46,297, 77% of the events" in told


def test_nothing_is_loaded_and_nothing_is_run() -> None:
    html = chart([NOW, LATER], source="college.txt")
    page = Page(html)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.elements}
    assert not {"src", "href", "xlink:href"} & {name for _, attributes in page.elements for name in attributes}
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_names_cannot_break_out_of_the_page() -> None:
    evil = '"><script>alert(1)</script>'
    figures = replace(NOW, policy=replace(NOW.policy, name=evil))
    page = Page(chart([figures], source=evil))
    assert "script" not in {tag for tag, _ in page.elements}
    assert f"What if: {evil}" in page.texts


def test_it_is_well_formed_and_at_home_on_a_phone_and_in_the_dark() -> None:
    html = chart([NOW, LATER])
    body = re.sub(r"<(meta|!DOCTYPE)[^>]*>", "", html)
    ElementTree.fromstring(body)
    assert 'content="width=device-width, initial-scale=1"' in html
    assert "prefers-color-scheme: dark" in html


counts = st.integers(1, 10**9)
waits = st.timedeltas(timedelta(0), timedelta(days=400))


@st.composite
def figures(draw: st.DrawFn) -> Figures:
    messages, events = sorted((draw(counts), draw(counts)))
    per_day = sorted(draw(st.tuples(counts, counts, counts)))
    wait = sorted(draw(st.tuples(waits, waits, waits)))
    return Figures(NOW.policy, events, 1, messages, 1, Spread(*per_day), Spread(*wait), 1)


@given(st.lists(figures(), min_size=1, max_size=4))
def test_whatever_the_figures_everything_is_drawn_inside(several: list[Figures]) -> None:
    assert all(0 <= percent <= 100 for percent in Page(chart(several)).percents())


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "replay.html"
    path.write_text("old")
    write_chart(path, [NOW], source="college.txt")
    assert path.read_text(encoding="utf-8") == chart([NOW], source="college.txt")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere.replay\.html cannot be written: No such file or directory"):
        write_chart(tmp_path / "nowhere" / "replay.html", [NOW])
