"""A site that is served, and a real Chromium that visits it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..chromium import find_chromium

ARGUMENTS = ["--no-sandbox"] if os.getuid() == 0 else []
ARGUMENTS += ["--disable-gpu", "--disable-background-networking"]
PATIENCE = 240_000  # ms: machines are busy
PIXELS = """name => { const canvas = document.getElementById(name);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let text = "";
  for (const value of data) text += String.fromCharCode(value);
  return [canvas.width, canvas.height, btoa(text)]; }"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@dataclass
class Visitor:
    """A browser's page of the site, and what it complained of and asked for."""

    page: Any
    address: str
    server: ThreadingHTTPServer
    complaints: list[str]
    requests: list[str]

    def go(self) -> None:
        self.page.goto(self.address)
        self.page.locator("#status", has_text="Ready").wait_for(timeout=PATIENCE)

    def said(self, text: str) -> None:
        self.page.locator("#status", has_text=text).wait_for(timeout=PATIENCE)

    def failed(self, text: str) -> None:
        self.page.get_by_role("alert").get_by_text(text).wait_for(timeout=PATIENCE)

    def pixels(self, canvas: str = "image") -> np.ndarray[Any, Any]:
        import base64

        width, height, text = self.page.evaluate(PIXELS, canvas)
        values = np.frombuffer(base64.b64decode(text), np.uint8).astype(int)
        return values.reshape(height, width, 4)[..., :3]

    def drop(self, *paths: Path) -> None:
        """Drops files on the page, as a hand with a mouse does."""
        import base64

        types = {".jpg": "image/jpeg", ".png": "image/png", ".ivc": ""}
        files = [
            (path.name, types[path.suffix], base64.b64encode(path.read_bytes()).decode())
            for path in paths
        ]
        script = """files => { const held = new DataTransfer();
          for (const [name, type, text] of files) {
            const data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            held.items.add(new File([data], name, { type }));
          }
          const event = { dataTransfer: held, bubbles: true, cancelable: true };
          document.body.dispatchEvent(new DragEvent("drop", event)); }"""
        self.page.evaluate(script, files)

    def nothing_unwanted(self) -> bool:
        """No complaint on the console, and no request to another host."""
        others = [each for each in self.requests if not each.startswith(self.address)]
        kinds = {each.partition(":")[0] for each in others}
        assert self.complaints == []
        return kinds <= {"blob", "data"}


@contextmanager
def visiting(
    site: Path, arguments: Sequence[str] = (), permissions: Sequence[str] = (), **context: Any
) -> Iterator[Visitor]:
    """A Chromium at a site that is served on this machine; skips the test where there is none."""
    playwright_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed"
    )
    executable = find_chromium()
    if executable is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=[*ARGUMENTS, *arguments]
        )
        opened = browser.new_context(reduced_motion="reduce", permissions=[*permissions], **context)
        address = f"http://127.0.0.1:{server.server_port}/"
        visitor = Visitor(opened.new_page(), address, server, [], [])
        visitor.page.on("console", lambda message: visitor.complaints.append(message.text))
        visitor.page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        opened.on("request", lambda request: visitor.requests.append(request.url))
        yield visitor
        browser.close()
    server.shutdown()
    server.server_close()
