"""A real Chromium without a window, driven over its DevTools protocol by a pipe: no port, no library."""

from __future__ import annotations

import base64
import itertools
import json
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers import missing_server

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-component-update", "--disable-default-apps", "--disable-extensions"),
    *("--disable-sync", "--remote-debugging-pipe", "--window-size=1000,900"),
)
_PATIENCE_S = 60.0


def find_chromium() -> str:
    """Its program; absent, a visible skip, and a failure in CI."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    return found or missing_server("chromium is not installed")


@dataclass(slots=True)
class Tab:
    """One page of a browser."""

    _commands: int
    _answers: int
    _session: str = ""
    _said: bytes = b""
    _events: list[dict[str, Any]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def opens(self, address: str) -> None:
        """Go there, and wait until it is loaded."""
        self.leads_on(lambda: self.does("Page.navigate", url=address))

    def leads_on(self, act: Any) -> None:
        """Do something that leads to another page, and wait until that one is loaded."""
        self._events.clear()
        act()
        self._until("Page.loadEventFired")

    def finds(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.does("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def clicks(self, words: str, *, within: str = "body") -> None:
        """Click the link, button or summary that says so, as a person does: where it is shown."""
        self.leads_on(lambda: self._click(words, within))

    def unfolds(self, words: str) -> None:
        """Click something that leads nowhere."""
        self._click(words, "body")

    def writes(self, selector: str, words: str) -> None:
        """Put the cursor into a field, and type."""
        assert self.finds(f"(e => e && (e.focus(), true))(document.querySelector({json.dumps(selector)}))"), selector
        self.does("Input.insertText", text=words)

    def types(self, key: str, code: int, text: str = "") -> None:
        """Press a key."""
        given = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
        self.does("Input.dispatchKeyEvent", type="keyDown", **given)
        self.does("Input.dispatchKeyEvent", type="keyUp", **given)

    def text(self) -> str:
        """What is to be read on the page."""
        return str(self.finds("document.body.innerText"))

    def pictures(self, path: Path) -> None:
        """A picture of the page, for people."""
        path.write_bytes(base64.b64decode(self.does("Page.captureScreenshot")["data"]))

    def does(self, method: str, **params: Any) -> Any:
        """Send a command; its result."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while (message := self._next()).get("id") != number:
            self._events.append(message)
        assert "error" not in message, (method, message)
        return message["result"]

    def begin(self) -> None:
        """Open the page."""
        target = self.does("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.does("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.does("Page.enable")

    def _click(self, words: str, within: str) -> None:
        place = self.finds(f"""(() => {{
            const all = [...document.querySelector({json.dumps(within)}).querySelectorAll("a, button, summary")];
            const it = all.find(e => e.innerText.trim().startsWith({json.dumps(words)}));
            if (!it) return null;
            it.scrollIntoView({{block: "center"}});
            const box = it.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        assert place, f"nothing to click says {words!r} on:\n{self.text()}"
        for kind in ("mousePressed", "mouseReleased"):
            self.does("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def _until(self, event: str) -> None:
        while not any(message.get("method") == event for message in self._events):
            self._events.append(self._next())

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\0" not in self._said:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                more = os.read(self._answers, 1 << 16) if ready else b""
                assert more, "the browser said nothing"
                self._said += more
        message, _, self._said = self._said.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextmanager
def open_chromium(profile: Path) -> Iterator[Tab]:
    """A browser with one page, gone at the end of the block."""
    program = find_chromium()
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    log = (profile.parent / "chromium.log").open("wb")
    process = subprocess.Popen(
        ["bash", "-c", 'exec "$@" 3<&"$IN" 4>&"$OUT"', "bash", program, *_FLAGS, f"--user-data-dir={profile}"],
        env={**os.environ, "IN": str(theirs_in), "OUT": str(theirs_out)},
        pass_fds=(theirs_in, theirs_out),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    tab = Tab(ours_out, ours_in)
    try:
        tab.begin()
        yield tab
    finally:
        process.terminate()
        process.wait(30)
        for end in (ours_out, ours_in):
            os.close(end)
        log.close()
