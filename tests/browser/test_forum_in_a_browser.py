"""The example forum in a real browser: a reply, a muted thread and tomorrow's digest, by clicks and by keys alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chrome import Tab, find_chromium, open_chromium
from tests.servers import REPOSITORY, eventually, scratch_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The forum, as its one command runs it."""
    find_chromium()
    scratch = scratch_folder("hark-test-forum-")
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.forum", "0"],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        yield process.stderr.readline().split()[4]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    scratch.rmdir()


@pytest.fixture
def tab(address: str, tmp_path: Path) -> Iterator[Tab]:
    with open_chromium(tmp_path / "profile") as tab:
        tab.opens(address)
        yield tab


def be(tab: Tab, name: str) -> None:
    """Become somebody."""
    tab.opens(str(tab.finds("new URL('/who', location).href")))
    tab.clicks(name)


def inbox_has(tab: Tab, words: str) -> None:
    """Look into the inbox until it shows something: the worker needs a moment."""

    def shown() -> bool:
        tab.clicks("Inbox")
        return words in tab.text()

    eventually(shown, f"the inbox says {words!r}")


def test_a_reply_a_muted_thread_and_tomorrows_digest(tab: Tab) -> None:
    assert "Who are you?" in tab.text()
    be(tab, "Dan")
    tab.clicks("Welcome")
    tab.unfolds("Answer Ben")
    tab.writes("details[open] textarea", "Good to see you, Ben!")
    tab.clicks("Answer", within="details[open] form")
    assert "Good to see you, Ben!" in tab.text()

    be(tab, "Ben")
    inbox_has(tab, "Replies to your comments")
    be(tab, "Ada")
    inbox_has(tab, "Replies in threads you follow")
    tab.clicks("Forum")
    tab.clicks("Welcome")
    tab.clicks("Mute thread")
    assert "You muted this thread." in tab.text()

    be(tab, "Cleo")
    tab.clicks("Welcome")
    tab.writes("main > form textarea", "Is it quiet here?")
    tab.clicks("Comment")
    tab.clicks("Forum")
    tab.writes("input[name=title]", "News from Cleo")
    tab.writes("textarea[name=text]", "All is well.")
    tab.clicks("Publish")

    be(tab, "Ben")
    tab.clicks("Tomorrow, 08:00")
    assert "2 new posts on the forum" in tab.text()
    assert tab.finds("document.querySelectorAll('iframe').length") >= 1

    be(tab, "Ada")
    tab.clicks("Inbox")
    assert "Good to see you, Ben!" in tab.text()
    assert "Is it quiet here?" not in tab.text()


def test_it_can_be_used_by_keys_alone(tab: Tab) -> None:
    tab.types("Tab", 9)
    assert tab.finds("document.activeElement.innerText") == "To the content"
    tab.types("Tab", 9)
    assert str(tab.finds("document.activeElement.innerText")).startswith("Ada")
    tab.leads_on(lambda: tab.types("Enter", 13, "\r"))
    assert "Front page" in tab.text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1000])
def test_it_fits_and_can_be_read(tab: Tab, scheme: str, width: int) -> None:
    tab.does("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    tab.does("Emulation.setDeviceMetricsOverride", width=width, height=700, deviceScaleFactor=1, mobile=width < 500)
    be(tab, "Ada")
    for page in ("/", "/posts/1", "/inbox", "/mailbox", "/settings"):
        tab.opens(str(tab.finds(f"new URL({page!r}, location).href")))
        assert tab.finds("document.documentElement.scrollWidth <= innerWidth"), page
        assert tab.finds(CONTRAST) >= 4.5, page


CONTRAST = """(() => {
    const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number);
                         return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
    const behind = e => { for (; e; e = e.parentElement) {
                            const c = getComputedStyle(e).backgroundColor;
                            if (c !== "rgba(0, 0, 0, 0)") return c; }
                          return "rgb(255, 255, 255)"; };
    const shown = [...document.querySelectorAll("body *")].filter(
        e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
    return Math.min(...shown.map(e => {
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05); }));
})()"""
"""The least contrast of any text with what is behind it."""
