"""The runtime of the site is npm's package, pinned by the hashes of its files."""

import io
import tarfile
from pathlib import Path

import pytest

from invcomp.errors import DownloadError
from invcomp.web.runtime import FILES, runtime_files


def test_another_package_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for original, _ in FILES.values():
            info = tarfile.TarInfo(f"package/dist/{original}")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    with pytest.raises(DownloadError, match=r"has another ort\.wasm\.min\.mjs"):
        runtime_files(path)


def test_a_folder_without_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"has no ort\.wasm\.min\.mjs: onnxruntime-web 1"):
        runtime_files(tmp_path)


def test_a_file_that_is_no_package_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "package.tgz"
    path.write_bytes(b"no archive")
    with pytest.raises(DownloadError, match="not a package of npm"):
        runtime_files(path)
    with pytest.raises(DownloadError, match="not a package of npm"):
        runtime_files(tmp_path / "missing.tgz")


def test_without_npm_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DownloadError, match="npm, which fetches it, is not installed"):
        runtime_files()
