"""Downloads one pinned file of a PyPI project into the user's cache; executes no code of it.

`pip download` would run the setup.py of a source distribution, so `unearth` (the library behind
PDM) downloads the file, with the indexes and certificates of pip's configuration.
"""

from __future__ import annotations

import ast
import errno
import hashlib
import logging
import os
import platform
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unearth import PackageFinder
from unearth.auth import MultiDomainBasicAuth
from unearth.fetchers import Fetcher, PyPIClient

from ..errors import DownloadError
from ..files import cache_directory

ByteProgress = Callable[[int, int], None]
ATTEMPTS = 3


@dataclass(frozen=True)
class PinnedFile:
    """One file of one release of a PyPI project, pinned by its hash.

    Attributes:
        project: the project's name on PyPI.
        version: the release.
        filename: the wheel or source distribution.
        sha256: of the file, in lower-case hex.
        size: of the file, in bytes.
    """

    project: str
    version: str
    filename: str
    sha256: str
    size: int


def fetch(pinned: PinnedFile, progress: ByteProgress | None = None) -> Path:
    """The path of the file in the cache; downloads it if necessary.

    Args:
        pinned: which file.
        progress: called with the downloaded and the total bytes.

    Raises:
        DownloadError: no network, no such file, wrong content, or no space.
    """
    path = cache_directory() / pinned.filename
    _clear(path.parent)
    try:
        if path.is_file() and _sha256(path) == pinned.sha256:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=_mine()) as folder:
            part = Path(folder) / pinned.filename
            _download(pinned, part, progress or (lambda done, total: None))
            os.replace(part, path)
    except OSError as error:
        reason = "no space left" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise DownloadError(
            f"cannot store {pinned.filename} in {path.parent}: {reason} "
            "(INVCOMP_CACHE sets another folder)"
        ) from error
    return path


def _mine() -> str:
    """How the folder of a download of this process is called."""
    return f".download-{platform.node()}-{os.getpid()}-"


def _clear(cache: Path) -> None:
    """Removes what processes left that were killed on this machine as they downloaded."""
    begin = f".download-{platform.node()}-"
    for folder in cache.glob(".download-*"):
        process = folder.name.removeprefix(begin).partition("-")[0]
        ours = folder.name.startswith(begin) and process.isdecimal()
        if ours and int(process) != os.getpid() and not _runs(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    """Whether a process runs; where that cannot be asked, it does."""
    if os.name != "posix":  # there, signal 0 is Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _download(pinned: PinnedFile, part: Path, progress: ByteProgress) -> None:
    """Tries every index in turn, and all again after a pause if the network failed."""
    options = _pip_options()
    failures: list[str] = []
    with _client(options) as client:
        for attempt in range(ATTEMPTS):
            time.sleep(2**attempt - 1)
            failures, network_failed = [], False
            for finder in _finders(options, client):
                try:
                    return _copy(finder, pinned, part, progress)
                except OSError:  # the disk, not the network
                    raise
                except DownloadError as error:
                    failures.append(str(error))
                except Exception as error:  # from unearth's HTTP client, which varies
                    failures.append(f"{type(error).__name__}: {error}")
                    network_failed = True
            if not network_failed:
                break
    reasons = "; ".join(dict.fromkeys(failures)) or "pip is configured to use no index"
    raise DownloadError(
        f"cannot download {pinned.filename} ({pinned.project} {pinned.version} on PyPI): "
        + " ".join(reasons.split())
    )


def _copy(finder: PackageFinder, pinned: PinnedFile, part: Path, progress: ByteProgress) -> None:
    """Downloads the file from one index and checks it."""
    matches = finder.find_matches(f"{pinned.project}=={pinned.version}", allow_yanked=True)
    link = next((match.link for match in matches if match.link.filename == pinned.filename), None)
    if link is None:
        raise DownloadError("the index does not have it")
    digest, done = hashlib.sha256(), 0
    with finder.session.get_stream(link.normalized) as response, part.open("wb") as file:
        response.raise_for_status()
        for chunk in response.iter_bytes(1 << 18):
            digest.update(chunk)
            done += file.write(chunk)
            if done > pinned.size:
                break
            progress(done, pinned.size)
    if digest.hexdigest() != pinned.sha256:
        raise DownloadError(f"the download is not the pinned file (sha256 {pinned.sha256[:12]}...)")


def _finders(options: dict[str, str], client: Fetcher) -> list[PackageFinder]:
    """One finder for each place where pip would look; PyPI is first unless configured."""
    logging.getLogger("unearth").addHandler(logging.NullHandler())  # our errors say it already
    places: list[tuple[list[str], list[str]]] = []  # index URLs, links
    if options.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
        places.append((options.get("index-url", "").split(), []))  # none: unearth's default, PyPI
        places += [([url], []) for url in options.get("extra-index-url", "").split()]
    places += [([], [link]) for link in options.get("find-links", "").split()]
    return [
        PackageFinder(client, index_urls=urls, find_links=links, ignore_compatibility=True)
        for urls, links in places
    ]


def _client(options: dict[str, str]) -> AbstractContextManager[Any]:
    urls = f"{options.get('index-url', '')} {options.get('extra-index-url', '')}".split()
    return PyPIClient(
        auth=MultiDomainBasicAuth(prompting=False, index_urls=urls),
        verify=_certificates(options),
        trusted_hosts=options.get("trusted-host", "").split(),
        proxy=options.get("proxy"),
        timeout=60,
        follow_redirects=True,
        event_hooks={"response": [_raise_if_server_failed]},
    )


def _raise_if_server_failed(response: Any) -> None:
    """Raises an error to retry if the server failed; unearth would see an empty index."""
    if response.status_code >= 500:
        response.raise_for_status()


def _certificates(options: dict[str, str]) -> ssl.SSLContext | bool:
    """The certificates that pip would trust; True: the client's own (and SSL_CERT_FILE)."""
    bundle = options.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE")
    if not bundle:
        return True
    try:
        if os.path.isdir(bundle):
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise DownloadError(f"cannot read pip's certificates in {bundle}: {error}") from error


def _pip_options() -> dict[str, str]:
    """pip's configuration from files and PIP_* variables; {} without pip."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    entries = dict(line.split("=", 1) for line in listing.splitlines() if "=" in line)
    return {
        name: str(ast.literal_eval(entries[key]))
        for section in ("global.", "install.", ":env:.")  # each overrides the one before
        for key in entries
        if key.startswith(section) and (name := key.removeprefix(section))
    }
