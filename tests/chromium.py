"""A real headless Chromium that opens a page and notes what it complains of and asks for."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Visited:
    """A page that is open.

    Attributes:
        page: playwright's.
        complaints: everything on the console, and errors that no script caught.
        requests: addresses of all that was asked for, but those that hold their data.
    """

    page: Any
    complaints: list[str]
    requests: list[str]


Visit = Callable[..., Visited]


def find_chromium() -> str | None:
    """The program: the system's, or the one that playwright brought."""
    from playwright.sync_api import sync_playwright

    for name in NAMES:
        if path := shutil.which(name):
            return path
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


@contextmanager
def visiting(executable: str) -> Iterator[Visit]:
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)

        def visit(path: Path, scheme: str = "light") -> Visited:
            page = browser.new_page(color_scheme=scheme, viewport={"width": 1000, "height": 900})
            visited = Visited(page, [], [])
            page.on("console", lambda message: visited.complaints.append(message.text))
            page.on("pageerror", lambda error: visited.complaints.append(str(error)))
            page.on("request", lambda request: _note(visited, request.url))
            page.goto(path.resolve().as_uri())
            return visited

        yield visit
        browser.close()


def _note(visited: Visited, address: str) -> None:
    if not address.startswith("data:"):
        visited.requests.append(address)
