"""Measures decoding in a browser: the page of `invcomp web` in a headless Chromium, by threads.

    python scripts/benchmarks/browser.py FILE.ivc -o runs/browser
    python scripts/benchmarks/browser.py FILE.ivc -o runs/browser --models faces-1024 --repeats 3

Writes a site for each model into the folder, unless it is there, and serves it on this machine. The
first visit has one thread; from the second on, the page is isolated and has as many as the machine
has cores, 4 at most. Each number is the median of several decodings of the file after a first one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import sync_playwright

from invcomp.lookup import load_bundle
from invcomp.web import write_site

PATIENCE = 300_000  # ms
CORES = "crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


def decoding(page: Any, file: Path, repeats: int) -> float:
    """Milliseconds of the network, the median; the first decoding is not counted."""
    found = []
    for _ in range(repeats + 1):
        page.evaluate("document.getElementById('status').textContent = ''")
        page.set_input_files("#file", file)
        said = page.locator("#status", has_text="Decoded in")
        said.wait_for(timeout=PATIENCE)
        found += re.findall(r"Decoded in (\d+) ms", said.text_content())
    return median(map(int, found[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/browser"))
    parser.add_argument("--models", nargs="+", default=["faces-128", "faces-1024"])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    flags = ["--disable-gpu", *(["--no-sandbox"] if os.getuid() == 0 else [])]
    for model in arguments.models:
        folder = arguments.output / model
        if not (folder / "index.html").is_file():
            write_site([load_bundle(model, aids=False)], folder, force=True)
        handler = partial(Quiet, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as playwright:
            executable = shutil.which("chromium") or playwright.chromium.executable_path
            browser = playwright.chromium.launch(executable_path=executable, args=flags)
            page = browser.new_context(reduced_motion="reduce").new_page()
            for visit in ("first", "second"):
                page.goto(f"http://127.0.0.1:{server.server_port}/")
                page.locator("#status", has_text="Ready").wait_for(timeout=PATIENCE)
                milliseconds = decoding(page, arguments.file, arguments.repeats)
                threads = page.evaluate(CORES)
                print(
                    f"{model}, {visit} visit: {threads} threads, {milliseconds:.0f} ms", flush=True
                )
            print(f"Chromium {browser.version}")
            browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
